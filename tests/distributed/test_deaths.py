"""E1, E3, E8: a process that dies or stalls ends the run of all in time, with the cause said once; the same command resumes."""

import signal
import time

import pytest
from jobs import Job, Own
from lab import Lab, moment, of_tier

LIMIT, TIMEOUT = 15.0, of_tier(3, 20)  # seconds
# What a process was about to do when it died, and how often it had done it.
MOMENTS = {
    "start": ("utils.distributed.worker:Worker.refuse_unshared", 1),
    "connection": ("utils.distributed.worker:Worker.connect", 1),
    "first step": ("agents.base:BaseAgent.train_step", 1),
    "a step": ("agents.base:BaseAgent.train_step", 6),
    "update": ("utils.training.update:Updater.apply", 6),
    "validation": ("agents.base:BaseAgent.evaluate", 2),
    "save": ("utils.runs.checkpointer:Checkpointer.save", 3),
    "end of a save": ("utils.distributed.worker:Worker.barrier", 3),
    "test": ("agents.base:BaseAgent.test", 1),
}
SAMPLE = ["start", "a step", "validation", "save", "test"]
IN_A_SAVE = [  # by the first process, which alone writes
    r"fsync .*/model\.safetensors",
    r"rename .*/\.tmp-step-\d+ .*",
    r"remove state\.pt",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("deaths"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> tuple[str, float]:
    """A run of two processes that nothing disturbs, and its seconds."""
    started = time.monotonic()
    job = start(lab, "control")
    assert job.wait() == [0, 0], job.errors
    return "control", time.monotonic() - started


def start(lab: Lab, name: str, size: int = 2, own: dict[int, Own] | None = None, timeout: int = 10) -> Job:
    return Job(
        lab,
        size,
        "bilstm.yaml",
        f"distributed.timeout={timeout}",
        f"name={name}",
        f"data.cache_folder=.cache-{name}",
        own=own,
    )


def check_death(job: Job, rank: int, *, is_early: bool = False) -> None:
    """The others have left in time, and one has said who died; is_early: it may have died before all, or even any, had come."""
    codes = job.wait()
    assert codes[rank] in (137, -signal.SIGKILL)
    assert job.seconds <= LIMIT
    has_come = [job.store.check([f"glassbox 0/process {other}"]) for other in range(len(codes)) if other != rank]
    if is_early and not any(has_come) and not any(f"rank {rank} has not joined" in cause for cause in job.causes):
        assert all("stopped by SIGTERM" in text for other, text in enumerate(job.errors) if other != rank and text)
        return  # nobody was there yet who could have known
    others = {code for other, code in enumerate(codes) if other != rank}
    assert {7} <= others <= {7, 143}, (codes, job.errors)  # 143: torchrun's SIGTERM was there before the roll call
    (cause,) = job.causes
    if is_early and f": rank {rank} has not joined; run the same command to resume" in cause:
        return
    assert f": rank {rank} (process {job.runs[rank].pid} on " in cause, cause
    assert "has died; run the same command to resume" in cause


def check_result(lab: Lab, name: str, control: str, size: int = 2) -> None:
    """The same command, started again, ends with the bits of the run that nothing disturbed."""
    job = start(lab, name, size)
    assert job.wait() == [0] * size, job.errors
    assert lab.results(name) == lab.results(control)
    assert not lab.leftovers()


@pytest.mark.parametrize("rank", range(2))
@pytest.mark.parametrize("what", of_tier(SAMPLE, list(MOMENTS)))
def test_a_dead_process_ends_the_run(lab: Lab, control: tuple[str, float], rank: int, what: str) -> None:
    place, n = MOMENTS[what]
    name = f"dead-{rank}-{what.replace(' ', '-')}"
    job = start(lab, name, own={rank: Own(faults={"signal_in": {"place": place, "numbers": [signal.SIGKILL], "n": n}})})
    check_death(job, rank)
    check_result(lab, name, control[0])


@pytest.mark.parametrize("number", of_tier([1], range(len(IN_A_SAVE))))
def test_the_first_process_dies_in_a_save(lab: Lab, control: tuple[str, float], number: int) -> None:
    job = start(lab, f"save-{number}", own={0: Own(faults={"die_at": {"pattern": IN_A_SAVE[number], "n": 2}})})
    check_death(job, 0)
    check_result(lab, f"save-{number}", control[0])


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1])
def test_a_death_before_all_are_here_is_named(lab: Lab, delay: float) -> None:
    job = start(lab, f"early-{delay}")
    time.sleep(delay)
    job.signal(signal.SIGKILL, 0)
    check_death(job, 0, is_early=True)


@pytest.mark.full
@pytest.mark.parametrize("number", range(of_tier(1, 40)))
def test_a_death_at_any_time(lab: Lab, control: tuple[str, float], number: int) -> None:
    job = start(lab, f"any-{number}")
    time.sleep(moment(control[1]))
    if job.runs[number % 2].wait(0.0) is None:
        job.signal(signal.SIGKILL, number % 2)
        if job.wait()[1 - number % 2] == 0:  # it needed the other one no more
            assert (lab.path(f"any-{number}") / "report.json").exists()
        else:
            check_death(job, number % 2, is_early=True)
    check_result(lab, f"any-{number}", control[0])


def test_the_tokens_builder_dies_and_the_next_start_builds_anew(lab: Lab) -> None:
    dies = {"die_at": {"pattern": r"fsync .*/train\.0\.ids"}}
    check_death(start(lab, "builder", 3, {0: Own(faults=dies)}), 0)
    job = start(lab, "builder", 3)
    assert job.wait() == [0] * 3, job.errors
    assert sum("tokenised" in text for text in job.errors) == 1


@pytest.mark.parametrize("rank", of_tier([1], [0, 1]))
@pytest.mark.parametrize("what", of_tier(["a step"], ["start", "a step", "validation"]))
def test_a_stopped_process_does_not_hold_up_the_run(lab: Lab, control: tuple[str, float], rank: int, what: str) -> None:
    place, n = MOMENTS[what]
    name = f"stalled-{rank}-{what.replace(' ', '-')}"
    own = {rank: Own(faults={"signal_in": {"place": place, "numbers": [signal.SIGSTOP], "n": n}})}
    started = time.monotonic()
    job = start(lab, name, own=own, timeout=TIMEOUT)
    job.grace = 3.0
    codes = job.wait()
    assert (codes[rank], codes[1 - rank]) == (-signal.SIGKILL, 7), job.errors
    assert time.monotonic() - started - job.seconds <= control[1] + TIMEOUT + LIMIT
    assert job.seconds <= job.grace + 2.0
    (cause,) = job.causes
    assert f": rank {rank} (process {job.runs[rank].pid} on " in cause
    assert "gives no answer" in cause
    check_result(lab, name, control[0])
