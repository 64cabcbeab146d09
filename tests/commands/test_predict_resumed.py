"""predict: several processes, kill -9 and --resume: no line is lost or doubled, and a dead process is one clear error."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, tiny_rows, write_jsonl
from prediction_runs import CHUNK, NUM_ROWS, answers, folder, predict, trained  # noqa: F401

from main import main

# Killed and resumed.


def forked(*words: str) -> int:
    """`main` in a copy of this process, whose id it returns."""
    process = os.fork()
    if process == 0:
        os._exit(main(["predict", "experiments/x", *words]))
    return process


def ended(process: int) -> int:
    """The exit code of such a copy; negative: the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_at(process: int, path: Path, size: int, delay: float) -> int:
    """Kill such a copy some time after its file has a size; -> its exit code, if it ends before that."""
    while not path.exists() or path.stat().st_size < size:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    return ended(process)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="one"),
        pytest.param(["--jobs", "2"], id="jobs", marks=pytest.mark.full),
        pytest.param(["--top-k", "1"], id="csv", marks=pytest.mark.full),
    ],
)
def test_killed_at_any_moment_it_loses_and_doubles_no_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """The same bytes as without a kill, and under the file's name never anything else."""
    name = "out.csv" if words == ["--top-k", "1"] else "out.jsonl"
    whole = folder / f"whole-{name}"
    write_jsonl(folder / "texts.jsonl", tiny_rows(5000))
    assert predict(capsys, "--input", "texts.jsonl", "--output", whole.name, *words)[0] == 0
    chance, codes, partial = random.Random(len(words)), list[int](), folder / f"{name}.partial" / "lines.jsonl"
    while not (folder / name).exists():
        size = (partial.stat().st_size if partial.exists() else 0) + chance.randrange(200_000)
        process = forked("--input", "texts.jsonl", "--output", name, "--resume", *words)
        codes.append(killed_at(process, partial, size, chance.uniform(0, 0.02)))
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert codes[-1] in (0, -signal.SIGKILL), "the last kill may have come when all was done"
    assert len(codes) > 4
    assert (folder / name).read_bytes() == whole.read_bytes()
    assert ended(forked("--input", "texts.jsonl", "--output", name, "--resume", *words)) == 0
    assert (folder / name).read_bytes() == whole.read_bytes()
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial") or path.name.startswith(".tmp-")]


@pytest.fixture
def unfinished(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """The folder of a prediction that a bad row at its end has stopped, and the lines that it should have."""
    expected = predict(capsys, "--input", "texts.jsonl")[1]
    with (folder / "texts.jsonl").open("a") as file:
        file.write("{\n")
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl")
    assert code == 3
    assert "out.jsonl.partial; --resume goes on from there" in err
    assert not (folder / "out.jsonl").exists()
    return folder / "out.jsonl.partial", expected


def test_a_bad_row_that_is_fixed_is_gone_on_from(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(folder / "texts.jsonl", tiny_rows(NUM_ROWS))
    predicted = list[int]()
    from agents.running.predictor import Predictor

    lines = Predictor.lines
    monkeypatch.setattr(Predictor, "lines", lambda self, chunk: predicted.append(len(chunk)) or lines(self, chunk))
    assert predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")[0] == 0
    assert (folder / "out.jsonl").read_text() == unfinished[1]
    assert predicted == [NUM_ROWS % CHUNK], "all but the last chunk were there"


@pytest.mark.parametrize(
    "tail",
    [
        b"{",
        b"\0" * 50_000,
        b'{"id": "texts.jsonl:1"',
        b"\0" * 50,
        b"\0" * 50 + b"\n",
        b"\xff\n",
        b"[]\n",
        b"1\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_not_whole_is_made_again(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str], tail: bytes
) -> None:
    write_jsonl(folder / "texts.jsonl", tiny_rows(NUM_ROWS))
    with (unfinished[0] / "lines.jsonl").open("ab") as file:
        file.write(tail)
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")
    assert (code, (folder / "out.jsonl").read_text()) == (0, unfinished[1]), err


def test_other_texts_and_another_run_are_refused(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (unfinished[0] / "lines.jsonl").read_bytes()
    write_jsonl(folder / "few.jsonl", tiny_rows(100))
    rows = tiny_rows(NUM_ROWS)
    write_jsonl(folder / "texts.jsonl", [*rows[:50], rows[50] | {"text": "other"}, *rows[51:]])
    cases = {
        "texts.jsonl:51 is not what the input has at texts.jsonl:51": ["--input", "texts.jsonl"],
        "texts.jsonl:1 is not what the input has at few.jsonl:1": ["--input", "few.jsonl"],
        "was made with top_k None, not 2; give the same run and options": ["--input", "texts.jsonl", "--top-k", "2"],
        "was made with temperature None, not [": ["--input", "texts.jsonl", "--calibrate"],
    }
    for problem, words in cases.items():
        code, _, err = predict(capsys, *words, "--output", "out.jsonl", "--resume")
        assert (code, problem in err.splitlines()[-1]) == (2, True), err
    write_jsonl(folder / "texts.jsonl", rows[:100])
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")
    assert (code, "more lines than the input has rows" in err.splitlines()[-1]) == (2, True), err
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume", run="no_valid")
    assert (code, "was made with checkpoint " in err) == (2, True)
    assert (unfinished[0] / "lines.jsonl").read_bytes() == before
    code, _, err = predict(capsys, "--input", "few.jsonl", "--output", "out.jsonl")
    assert (code, "starting over" in err) == (0, True), "without --resume"
    assert not unfinished[0].exists()


def test_a_folder_of_that_name_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out.jsonl.partial").mkdir()
    (folder / "out.jsonl.partial" / "mine").write_text("kept")
    (folder / "other.jsonl.partial").symlink_to("experiments")
    (folder / "third.jsonl.partial").write_text("kept")
    for name in ("out.jsonl", "other.jsonl", "third.jsonl"):
        code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", name)
        assert (code, "is not an unfinished prediction" in err) == (5, True), err
    assert (folder / "out.jsonl.partial" / "mine").read_text() == "kept"


# Several processes.


@pytest.fixture
def fed(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A prediction by two processes that has written lines, and waits for more on standard input."""
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "predict",
        "experiments/x",
        "--input",
        "-",
        "--output",
        "out.jsonl",
    ]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    feed(process, 8000)
    path = folder / "out.jsonl.partial" / "lines.jsonl"
    until(lambda: path.exists() and path.stat().st_size > 0)
    yield process
    process.kill()
    process.wait()
    with contextlib.suppress(BrokenPipeError):  # of a text that nobody has read
        assert process.stdin is not None
        process.stdin.close()


def feed(process: "subprocess.Popen[str]", number: int) -> None:
    assert process.stdin is not None
    for row in tiny_rows(number):
        process.stdin.write(json.dumps(row) + "\n")
    process.stdin.flush()


def until(is_so: Any) -> None:
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def test_a_killed_process_is_one_clear_error(fed: "subprocess.Popen[str]", folder: Path) -> None:
    children = psutil.Process(fed.pid).children()
    assert len(children) == 2
    children[0].kill()
    with contextlib.suppress(BrokenPipeError):
        feed(fed, 100_000)
    assert fed.stderr is not None
    lines = fed.stderr.read().splitlines()
    assert fed.wait(60) == 7, lines
    assert lines[-1] == "one of the 2 processes of --jobs was killed (out of memory?); use fewer"
    assert "Traceback" not in "".join(lines)
    assert not (folder / "out.jsonl").exists()
    until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(fed: "subprocess.Popen[str]", folder: Path, number: int) -> None:
    children = psutil.Process(fed.pid).children()
    os.killpg(fed.pid, number)  # as a terminal does
    assert fed.stderr is not None
    lines = fed.stderr.read().splitlines()
    assert fed.wait(60) == 128 + number
    assert lines[-2:] == [
        f"what is predicted so far is kept in {folder / 'out.jsonl.partial'}; --resume goes on from there",
        f"stopped by {signal.Signals(number).name}",
    ]
    until(lambda: not any(child.is_running() for child in children))
    assert not (folder / "out.jsonl").exists()
    assert (folder / "out.jsonl.partial" / "lines.jsonl").stat().st_size > 0
