"""E2, E6, E7 and bad input: an error, a signal or a number that is not finite in one process ends all, and is said once."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from jobs import Job, Own
from lab import Lab, of_tier
from torch.distributed import TCPStore
from torchruns import free_port, is_listening

LIMIT = 15.0  # seconds
ENDED = (7, 143)  # of a process that another one has ended: it has found out, or torchrun was faster
STEP = "agents.base:BaseAgent.train_step"
PLACES = [STEP, "agents.running.text_data:TextData.__init__", "agents.base:BaseAgent.evaluate"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("ends"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> str:
    """A run of two processes that nothing disturbs."""
    job = start(lab, "control")
    assert job.wait() == [0, 0], job.errors
    return "control"


def start(lab: Lab, name: str, *arguments: str, own: dict[int, Own] | None = None) -> Job:
    return Job(lab, 2, "bilstm.yaml", f"name={name}", f"data.cache_folder=.cache-{name}", *arguments, own=own)


def said(job: Job) -> str:
    """The one line of all processes that says what ended the run."""
    (line,) = job.causes
    return line


def check_result(lab: Lab, name: str, control: str) -> None:
    job = start(lab, name)
    assert job.wait() == [0, 0], job.errors
    assert lab.results(name) == lab.results(control)


def check_refused(job: Job, message: str) -> None:
    """Refused by one process, in one line."""
    assert {7} <= set(job.wait()) <= set(ENDED), job.errors
    assert message in said(job)


def second_machine(lab: Lab, name: str) -> Path:
    """A folder with the same configs and data, and no runs."""
    folder = lab.folder / name
    folder.mkdir()
    for path in [*lab.folder.glob("*.yaml"), lab.folder / "tiny.jsonl"]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def one_of_two(rank: int, port: object) -> dict[str, str]:
    """What tells a process that it is one of two, whose store is at the port, and kept by the first one."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), **place}


@pytest.mark.parametrize("rank", range(2))
@pytest.mark.parametrize("place", of_tier(PLACES[:2], PLACES))
def test_an_error_of_one_process_is_the_error_of_the_run(lab: Lab, control: str, rank: int, place: str) -> None:
    name = f"error-{rank}-{place.split('.')[-1].strip('_')}"
    job = start(lab, name, own={rank: Own(faults={"refuse_in": {"place": place, "message": "tiny.jsonl:7: no label"}})})
    codes = job.wait()
    assert said(job) == f"rank {rank}: tiny.jsonl:7: no label"
    assert codes[rank] == 3
    assert codes[1 - rank] in ENDED, job.errors
    assert job.seconds <= LIMIT
    check_result(lab, name, control)


def test_a_bug_in_one_process_is_shown_once(lab: Lab) -> None:
    job = start(lab, "bug", own={1: Own(faults={"assign": {"values": {STEP: None}}})})
    codes = job.wait()
    assert codes[1] == 1
    assert codes[0] in ENDED
    assert said(job).startswith("Traceback")
    assert "NoneType" in job.errors[1]


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_at_the_same_step(lab: Lab, control: str, ranks: tuple[int, ...], number: int) -> None:
    name = f"signal-{number}-{'-'.join(map(str, ranks))}"
    twice = [number, number]  # torchrun sends on what a terminal has sent already
    own = {rank: Own(faults={"signal_in": {"place": STEP, "numbers": twice, "n": 8}}) for rank in ranks}
    job = start(lab, name, own=own)
    assert job.wait() == [128 + number] * 2, job.errors
    assert f": stopped by {signal.Signals(number).name}: saved step 8 in " in said(job)
    assert {path.name for path in lab.path(name).glob("checkpoints/*")} == {"step-7", "step-8"}
    check_result(lab, name, control)


@pytest.mark.parametrize("rank", range(2))
@pytest.mark.parametrize("place", of_tier([PLACES[2]], [PLACES[2], "utils.runs.checkpointer:Checkpointer.save"]))
def test_a_signal_in_the_middle_of_something_else_saves_too(lab: Lab, control: str, rank: int, place: str) -> None:
    name = f"signal-{rank}-{place.split('.')[-1]}"
    job = start(lab, name, own={rank: Own(faults={"signal_in": {"place": place, "numbers": [signal.SIGTERM], "n": 2}})})
    assert job.wait() == [143, 143], job.errors
    assert ": stopped by SIGTERM: saved step " in said(job)
    check_result(lab, name, control)


@pytest.mark.parametrize("rank", of_tier([1], [0, 1]))
def test_a_signal_before_the_first_step_ends_all(lab: Lab, control: str, rank: int) -> None:
    name = f"signal-{rank}-data"
    job = start(lab, name, own={rank: Own(faults={"signal_in": {"place": PLACES[1], "numbers": [signal.SIGTERM]}})})
    assert set(job.wait()) <= {*ENDED}, job.errors
    assert "stopped by SIGTERM" in said(job)
    assert job.seconds <= LIMIT
    check_result(lab, name, control)


@pytest.mark.parametrize("what", ["loss", "weight"])
def test_one_that_is_not_finite_stops_all_before_the_update(lab: Lab, control: str, what: str) -> None:
    name = f"nan-{what}"
    job = start(lab, name, own={1: Own(faults={"poison": {"what": what, "value": "nan", "step": 8}})})
    assert job.wait() == [6, 6], job.errors
    assert re.search(r"^rank [01]: step 8, texts \[[\d, ]+\] of rank 1: ", said(job)), "whoever says it"
    assert max(int(path.name[5:]) for path in lab.path(name).glob("checkpoints/step-*")) < 8
    check_result(lab, name, control)


OTHERS: dict[str, tuple[list[str], dict[str, object], str]] = {
    "config": (["optimizer.lr=0.1"], {}, "optimizer.lr is 0.1 here and 0.05 on rank 0"),
    "version": ([], {"assign": {"values": {"torch:__version__": "2.0"}}}, "the version of torch is 2.0 here and 2."),
}


@pytest.mark.parametrize("case", OTHERS)
def test_processes_that_would_train_other_models_are_refused(lab: Lab, case: str) -> None:
    arguments, faults, message = OTHERS[case]
    job = start(lab, f"other-{case}", own={1: Own(arguments, faults=faults)})
    check_refused(job, f"rank 1: {message}")
    assert job.seconds <= LIMIT


def test_other_data_is_refused(lab: Lab) -> None:
    other = second_machine(lab, "other-data")
    rows = (other / "tiny.jsonl").read_text().splitlines()
    (other / "tiny.jsonl").write_text("\n".join(rows[:-3]) + "\n")
    (lab.folder / "experiments").mkdir(exist_ok=True)
    (other / "experiments").symlink_to(lab.folder / "experiments")
    job = start(lab, "other-data", own={1: Own(folder=other)})
    check_refused(job, "rank 1: data is ")


def test_a_folder_that_the_others_do_not_see_is_refused(lab: Lab) -> None:
    job = start(lab, "unshared", own={1: Own(folder=second_machine(lab, "machine-2"))})
    check_refused(job, "rank 1: does not see what rank 0 writes in experiments/unshared; all machines need")
    assert job.seconds <= LIMIT
    assert not lab.leftovers()


def test_a_batch_smaller_than_the_processes_is_refused(lab: Lab) -> None:
    job = start(lab, "small", "train.batch_size=1")
    check_refused(job, "train.batch_size must be at least 2, the number of processes that share it, got 1")
    assert job.seconds <= LIMIT


@pytest.mark.parametrize("case", ["small", "other config"])
def test_what_is_refused_at_the_start_removes_no_run(lab: Lab, control: str, case: str) -> None:
    before = lab.results(control)
    words = ["--fresh", "train.batch_size=1"] if case == "small" else ["--fresh"]
    job = start(lab, control, *words, own={1: Own(["optimizer.lr=0.1"])} if case == "other config" else None)
    assert {7} <= set(job.wait()) <= set(ENDED), job.errors
    assert lab.results(control) == before


def test_a_signal_while_the_report_is_written_is_no_death(lab: Lab, control: str) -> None:
    fault = {"signal_in": {"place": "utils.runs.experiment:Experiment.finish", "numbers": [signal.SIGINT]}}
    job = start(lab, "report", own={0: Own(faults=fault)})
    assert job.wait()[0] == 130, job.errors
    assert said(job).startswith("rank 0: stopped by SIGINT")
    check_result(lab, "report", control)


def test_a_signal_when_all_is_done_changes_nothing(lab: Lab) -> None:
    fault = {"signal_in": {"place": "torch.distributed:destroy_process_group", "numbers": [signal.SIGTERM]}}
    job = start(lab, "done", own={rank: Own(faults=fault) for rank in range(2)})
    assert job.wait() == [0, 0], job.errors
    assert not job.causes


def test_a_config_error_is_said_once_and_keeps_its_code(lab: Lab) -> None:
    job = start(lab, "typo", "optimizer.lrr=1")
    assert {2} <= set(job.wait()) <= {2, 143}, job.errors
    assert said(job).startswith(("rank 0: command line", "rank 1: command line"))
    assert not lab.path("typo").exists()


@pytest.mark.parametrize("command", ["export", "prepare", "list"])
def test_what_one_process_does_is_refused_to_many(lab: Lab, control: str, command: str) -> None:
    job = Job(lab, 2, command, f"experiments/{control}")
    assert {7} <= set(job.wait()) <= {*ENDED, -signal.SIGTERM}
    assert any(f"{command} is done by one process, without torchrun" in text for text in job.errors)


@pytest.mark.full
def test_nobody_at_the_address(lab: Lab) -> None:
    run = lab.command("bilstm.yaml", environment=one_of_two(1, 9))
    assert run.wait(LIMIT) == 7
    assert run.stderr.startswith("nobody answers at MASTER_ADDR:MASTER_PORT 127.0.0.1:9")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("case", ["port taken", "number above the ports", "no number"])
def test_an_address_that_is_none(lab: Lab, case: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"port taken": str(taken.getsockname()[1]), "number above the ports": "70000", "no number": "x"}[case]
        run = lab.command("bilstm.yaml", environment=one_of_two(0, port))
        assert run.wait(LIMIT) == 7, run.stderr
    assert run.stderr.splitlines()[-1].startswith(
        ("no store at MASTER_ADDR:MASTER_PORT 127.0.0.1:", "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not")
    )
    assert "Traceback" not in run.stderr


def test_who_waits_for_the_others_hears_a_signal(lab: Lab) -> None:
    port = free_port()
    run = lab.command("bilstm.yaml", environment=one_of_two(0, port))
    while not is_listening(port):
        assert run.wait(0.05) is None, run.stderr
    store = TCPStore("127.0.0.1", port, wait_for_workers=False)
    while not store.check(["glassbox 0/process 0"]):  # a moment later it has come to the meeting
        assert run.wait(0.05) is None, run.stderr
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(LIMIT) == 7
    assert run.stderr.splitlines()[-1] == "rank 0: rank 1 has not joined; run the same command to resume"


def test_a_finished_run_gives_its_report_once(lab: Lab, control: str) -> None:
    job = start(lab, control)
    assert job.wait() == [0, 0], job.errors
    assert sum("is finished" in text for text in job.errors) == 1
    assert json.loads((lab.path(control) / "report.json").read_bytes())["name"] == control
