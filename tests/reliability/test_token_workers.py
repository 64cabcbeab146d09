"""The processes that tokenise: how many there are changes no byte, and none of them outlives the run."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, Run, digest, moment, of_tier

MODEL = "bag_of_embeddings"
MANY_CHUNKS = {"assign": {"values": {"datasets.store.store:SMALL": 0, "datasets.tokenizers.processes:CHUNK": 5}}}
SLOW: dict[str, Any] = MANY_CHUNKS | {"slow": {"place": "datasets.store.word_pass:number_words", "seconds": 0.2}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("workers"))


def store(lab: Lab, cache: str) -> dict[str, str]:
    """The files of a cache's token stores."""
    root = lab.folder / f".cache-{cache}" / "tokens"
    return {str(path.relative_to(root)): digest(path.read_bytes()) for path in root.glob("[!.]*/*")}


def processes_of(run: Run) -> list[int]:
    """The processes of a run's session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == run.pid and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)


def tokenising(lab: Lab, name: str) -> Run:
    """A run whose two workers are at work."""
    run = lab.start(MODEL, name, "data.num_workers=2", **SLOW)
    wait_for(lambda: list((lab.folder / f".cache-{name}").glob("tokens/.tmp-*/train.words")), 10.0)
    wait_for(lambda: len(processes_of(run)) == 3, 10.0)
    return run


@pytest.mark.parametrize("num_workers", [2, 4])
def test_the_store_has_the_same_bytes_with_any_number_of_workers(lab: Lab, num_workers: int) -> None:
    lab.finish(MODEL, "one", "data.num_workers=1")
    name = f"of-{num_workers}"
    lab.finish(MODEL, name, f"data.num_workers={num_workers}", **MANY_CHUNKS)
    assert store(lab, name) == store(lab, "one")
    assert lab.results(name) == lab.control(MODEL)[0]


def test_a_run_killed_with_two_workers_goes_on_with_one(lab: Lab) -> None:
    for case in range(of_tier(1, 10)):
        run = lab.start(MODEL, f"two-{case}", "data.num_workers=2", **MANY_CHUNKS)
        time.sleep(moment(0.3 * random.random()))
        run.kill()
        lab.finish(MODEL, f"two-{case}", "data.num_workers=1")
        assert lab.results(f"two-{case}") == lab.control(MODEL)[0]
        assert store(lab, f"two-{case}") == store(lab, f"whole-{MODEL}")


def test_a_killed_worker_ends_the_run_with_a_hint(lab: Lab) -> None:
    run = tokenising(lab, "worker")
    os.kill(max(processes_of(run)), signal.SIGKILL)
    assert run.wait(5.0) == 3, run.stderr
    assert "Traceback" not in run.stderr
    hint = "a tokenisation worker was killed (out of memory?); data.num_workers: 1 needs none"
    assert run.stderr.splitlines()[-1] == hint
    wait_for(lambda: not processes_of(run), 5.0)
    assert not lab.path("worker").joinpath("checkpoints").exists()
    lab.finish(MODEL, "worker")
    assert lab.results("worker") == lab.control(MODEL)[0]


def test_workers_leave_with_a_killed_run(lab: Lab) -> None:
    run = tokenising(lab, "parent")
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait(5.0) == -signal.SIGKILL
    wait_for(lambda: not processes_of(run), 5.0)
    lab.finish(MODEL, "parent")
    assert lab.results("parent") == lab.control(MODEL)[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("is_group", [False, True], ids=["to the parent only", "to all"])
def test_a_signal_ends_the_workers_with_the_run(lab: Lab, number: int, code: int, is_group: bool) -> None:
    run = tokenising(lab, f"signal-{code}-{is_group}")
    (os.killpg if is_group else os.kill)(run.pid, number)
    assert run.wait(5.0) == code, run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    wait_for(lambda: not processes_of(run), 5.0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("is_group", [False, True], ids=["to the parent only", "to all"])
def test_a_signal_in_a_fork_is_not_lost(lab: Lab, number: int, code: int, is_group: bool) -> None:
    """Python drops what a handler raises there, and a worker is then still a copy of the run with its handlers."""
    fault = {"signal_at_fork": {"number": number, "is_in_child": is_group}}
    run = lab.start(MODEL, f"fork-{code}-{is_group}", "data.num_workers=2", **SLOW, **fault)
    assert run.wait(5.0) == code, run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    wait_for(lambda: not processes_of(run), 5.0)
