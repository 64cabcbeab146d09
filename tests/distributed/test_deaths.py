"""E1 to E3, E6 to E8: a process that dies, fails, stalls or gets a signal ends the run of all, in time, with the cause said once."""

import os
import signal
import time

import pytest
from faults import DIED
from jobs import Job
from lab import MODELS, Lab, moment, of_tier

SIZE = 2


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("deaths"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> tuple[str, float]:
    """A run of two processes that nothing disturbs, and its seconds."""
    started = time.monotonic()
    job = start(lab, "control")
    assert job.wait() == [0] * SIZE, job.errors
    return "control", time.monotonic() - started


def start(lab: Lab, name: str, *arguments: str, **options: object) -> Job:
    return Job(lab, SIZE, "bilstm.yaml", f"name={name}", f"data.cache_folder=.cache-{name}", *arguments, **options)


def causes(job: Job) -> list[str]:
    """All lines of all processes that say what ended the run."""
    return [line for text in job.errors for line in text.splitlines() if line.startswith("rank ")]


@pytest.mark.parametrize("rank", range(SIZE))
@pytest.mark.parametrize("number", range(of_tier(2, 10)))
def test_a_dead_process_ends_the_run_and_the_same_command_goes_on(
    lab: Lab, control: tuple[str, float], rank: int, number: int
) -> None:
    name = f"dead-{rank}-{number}"
    job = start(lab, name)
    time.sleep(moment(0.9 * control[1]))
    job.signal(signal.SIGKILL, rank)
    codes = job.wait()
    assert job.seconds <= 15
    assert codes[rank] == -signal.SIGKILL
    other = codes[1 - rank]
    if other != 0:
        assert other == 7, job.errors
        (cause,) = causes(job)
        assert cause.startswith(f"rank {1 - rank}: rank {rank} (process {job.runs[rank].pid} on "), cause
        assert "has died" in cause
    job = start(lab, name)
    assert job.wait() == [0] * SIZE, job.errors
    assert lab.results(name) == lab.results(control[0])
