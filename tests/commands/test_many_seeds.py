"""`--seeds`: a run for each seed, as it would be alone; a signal, a failure and bad input."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Run, assert_refused

from main import main
from utils.errors import ConfigError, Stopped
from utils.machine import signals
from utils.machine.slots import slots_of
from utils.runs.launching import Job, JobFailed, Queue, run_all

# Makes its standard input the session's terminal, as a login does, and becomes the command.
IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # or tests under nohup would see it ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
AT_ONCE = str(min(2, len(os.sched_getaffinity(0))))


def test_each_seed_is_the_run_that_it_would_be_alone(run: Run, workplace: Path) -> None:
    words = ["tiny.yaml", "train.num_epochs=2", "name=tiny"]
    done = run(*words, "--seeds", "2,5", "--jobs", AT_ONCE)
    assert done.returncode == 0, done.stderr
    assert "tiny-seed5: report: experiments/tiny-seed5/report.json" in done.stderr
    (row,) = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("tiny ")]
    assert row[1] == "2"
    assert main([*words[:2], "name=alone", "seed=5", "num_threads=1"]) == 0
    one, other = (Path(f"experiments/{name}/predictions.jsonl").read_text() for name in ("tiny-seed5", "alone"))
    assert one == other
    before = Path("experiments/tiny-seed2/report.json").stat().st_mtime_ns
    again = run(*words, "--seeds", "2,3")
    assert again.returncode == 0, again.stderr
    assert "tiny-seed2: experiments/tiny-seed2 is finished" in again.stderr
    assert Path("experiments/tiny-seed2/report.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in Path("experiments").glob("[!.]*")) == [
        "alone",
        "tiny-seed2",
        "tiny-seed3",
        "tiny-seed5",
    ]


def test_runs_that_measure_nothing_are_trained_and_not_compared(run: Run, workplace: Path) -> None:
    done = run("tiny.yaml", "data.split=[1,0,0]", "train.num_epochs=1", "name=all", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "nothing to compare: the runs have measured no split (data.split)"
    assert Path("experiments/all-seed2/report.json").exists()
    assert_refused(run("compare"), 2, "experiments/all-seed1 has measured no split (data.split), so there is nothing")


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_the_same_command_resumes(run: Run, workplace: Path, number: int) -> None:
    words = [
        "tiny.yaml",
        "train.num_epochs=400",
        "train.validate_every=10 epochs",
        "name=tiny",
        "--seeds",
        "2",
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *words], cwd=workplace, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(workplace.glob("experiments/*/metrics.jsonl"))) < int(AT_ONCE):
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert errors.count(f"stopped by {signal.Signals(number).name}: saved step") == int(AT_ONCE)
    assert "Traceback" not in errors
    folders = sorted((workplace / "experiments").glob("[!.]*"))
    assert not any((folder / "report.json").exists() for folder in folders)
    steps = [json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] for folder in folders]
    assert min(steps) > 0
    again = run(
        "tiny.yaml", f"train.num_epochs={max(20, max(steps) // 5 + 1)}", *words[2:]
    )  # more of it would take long
    assert again.returncode == 0, again.stderr
    assert all((folder / "report.json").exists() for folder in folders)


def test_a_closed_terminal_stops_all_with_a_checkpoint(run: Run, workplace: Path) -> None:
    """A session with a terminal of its own, whose other end is closed: SIGHUP, and an error for each line on stderr."""
    words = ["tiny.yaml", "train.num_epochs=100000", "train.validate_every=10 epochs", "name=tiny", "--seeds", "2"]
    terminal, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, sys.executable, str(ROOT / "main.py"), *words, "--jobs", AT_ONCE],
        cwd=workplace,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    folders = [workplace / f"experiments/tiny-seed{seed}" for seed in range(1, int(AT_ONCE) + 1)]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not all((folder / "metrics.jsonl").exists() for folder in folders):
        os.set_blocking(terminal, False)
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 2**16)
        time.sleep(0.1)
    runs = psutil.Process(process.pid).children(recursive=True)
    os.close(terminal)
    try:
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
        assert runs
        assert not any(each.is_running() for each in runs)
    finally:
        for each in runs:  # a failed test leaves none that goes on
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    assert not any((folder / "report.json").exists() for folder in folders)
    steps = [json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] for folder in folders]
    done = run(words[0], f"train.num_epochs={max(20, max(steps) // 5 + 1)}", *words[2:])
    assert done.returncode == 0, done.stderr  # nothing is left running, which would hold a run's folder
    assert done.stderr.count("resuming from step") == len(folders)
    assert all((folder / "report.json").exists() for folder in folders)


def test_a_failure_ends_with_its_code_and_starts_no_other(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = workplace / "main.py"
    script.write_text("import sys\nprint('a.csv:3: no label', file=sys.stderr)\nsys.exit(int(sys.argv[1]))\n")
    monkeypatch.setattr("utils.runs.launching.MAIN", script)
    jobs = [Job(name, [code]) for name, code in (("one", "0"), ("two", "3"), ("three", "0"))]
    with pytest.raises(JobFailed, match=r"^two ended with exit code 3: a.csv:3: no label; 1 not started$") as caught:
        run_all(Queue(jobs))
    assert caught.value.exit_code == 3


def test_a_slot_holds_one_job_at_a_time(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = workplace / "main.py"
    script.write_text(
        "import os, sys, time\nplace = 'lock' + os.environ['SLOT']\nos.mkdir(place)\ntime.sleep(0.3)\nos.rmdir(place)\n"
        "open('done' + sys.argv[1], 'w').write(os.environ['SLOT'])\n"
    )
    monkeypatch.setattr("utils.runs.launching.MAIN", script)
    run_all(Queue([Job(str(i), [str(i)]) for i in range(5)]), [{"SLOT": "a"}, {"SLOT": "b"}])
    assert {path.read_text() for path in workplace.glob("done*")} == {"a", "b"}
    assert len(list(workplace.glob("done*"))) == 5


def test_a_second_signal_kills_what_does_not_end(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = workplace / "main.py"
    script.write_text(
        "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: open('told', 'a').write('x'))\n"
        "open('ready', 'w').write(str(os.getpid()))\nwhile True:\n    time.sleep(0.05)\n"
    )
    monkeypatch.setattr("utils.runs.launching.MAIN", script)

    def soon() -> None:
        for sign in ("ready", "told"):
            while not (workplace / sign).exists():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=soon)
    thread.start()
    with signals.installed(), pytest.raises(Stopped):
        run_all(Queue([Job("stubborn", [])]))
    thread.join()
    assert (workplace / "told").read_text() == "x", "the first one was passed on"
    with pytest.raises(ProcessLookupError):
        os.kill(int((workplace / "ready").read_text()), 0)


def test_no_job_is_started_after_a_signal(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = workplace / "main.py"
    script.write_text("import os, signal, sys\nopen(sys.argv[1], 'w').close()\nos.kill(os.getppid(), signal.SIGTERM)\n")
    monkeypatch.setattr("utils.runs.launching.MAIN", script)
    with signals.installed(), pytest.raises(Stopped, match=r"^stopped by SIGTERM: the runs are saved"):
        run_all(Queue([Job("a", ["a"]), Job("b", ["b"])]))
    assert (workplace / "a").exists()
    assert not (workplace / "b").exists()


def test_a_process_that_is_started_so_heeds_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signals.ONE_SIGNAL, "1")
    with signals.installed(), signals.graceful():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        assert signals.received() == signal.SIGTERM
        with pytest.raises(Stopped, match="saved"):
            signals.leave("saved")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "--seeds must be a number of seeds, or a list such as 1,5,9, got '0'"),
        (["--seeds", "three"], "got 'three'"),
        (["--seeds", "10000000000"], "got '10000000000'"),
        (["--seeds", "0", "--dry-run"], "got '0'"),
        (["--seeds", "1,1"], "got '1,1'"),
        (["--seeds", "2", "seed=4"], "seed=4: --seeds sets the seed; leave it out"),
        (["--seed", "3"], "unrecognized arguments: --seed 3"),
        (["--jobs", "2"], "--jobs goes with --seeds"),
        (["--seeds", "2", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--seeds", "5000", "--jobs", "5000"], "--seeds must be a number of seeds"),
        (["--seeds", "900", "--jobs", "5000"], "one run for each CPU core, got 900"),
        (["--seeds", "2", "model.hiden_size=3"], "did you mean hidden_size?"),
    ],
)
def test_bad_input_is_one_line(
    workplace: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
    assert not Path("experiments").exists()


def test_devices_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert slots_of("auto", 2).environments == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert slots_of("cuda", 2).environments == [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    with pytest.raises(ConfigError, match="at most 2, one run for each CUDA device, got 3"):
        slots_of("auto", 3)
    with pytest.raises(ConfigError, match="would put all runs on the one device cuda:1"):
        slots_of("cuda:1", 2)
    assert slots_of("cuda:1", 1) == ([{}], None)
