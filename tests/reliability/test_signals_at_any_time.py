"""SIGTERM and Ctrl-C at any time: the run leaves within five seconds, and the same command goes on to the same bits."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from faults import DIED
from lab import MODELS, Lab, Run, moment, of_tier

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
TERM, INT = int(signal.SIGTERM), int(signal.SIGINT)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("signals"))


def assert_left(run: Run, code: int, *words: str) -> None:
    """The promise for a signal: gone within 5 s, the exit code, one line that says it, no process left."""
    assert run.wait(5.0) == code, run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"stopped by {signal.Signals(code - 128).name}"), run.stderr
    assert all(word in last for word in words), last
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def assert_same_end(lab: Lab, model: str, name: str) -> None:
    lab.finish(model, name)
    assert lab.results(name) == lab.control(model)[0]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("number", CODES)
def test_a_signal_at_a_random_moment_costs_nothing(lab: Lab, model: str, number: int) -> None:
    seed = random.randrange(2**32)
    random.seed(seed)
    _, seconds = lab.control(model)
    for case in range(of_tier(1, 10)):
        name = f"{model}-{number}-{case}"
        run = lab.start(model, name)
        time.sleep(moment(0.9 * seconds))
        os.killpg(run.pid, number)
        code = run.wait(5.0)
        assert code in (0, CODES[number]), f"random.seed({seed}): {code}: {run.stderr}"
        if code:
            assert_left_words(run)
        assert_same_end(lab, model, name)


def assert_left_words(run: Run) -> None:
    assert "Traceback" not in run.stderr, run.stderr
    assert "the same command" in run.stderr.splitlines()[-1]


STEP = {"place": "agents.base:BaseAgent.train_step", "n": 8, "numbers": [TERM]}
MOMENTS: dict[str, tuple[dict[str, Any], int]] = {
    "while the command line is read": (
        {"signal_in": {"place": "argparse:ArgumentParser.format_usage", "numbers": [INT]}},
        130,
    ),
    "while the data is tokenised": (
        {"signal_in": {"place": "datasets.store.word_pass:number_words", "numbers": [TERM]}},
        143,
    ),
    "in a step": ({"signal_in": STEP}, 143),
    "twice in a step": ({"signal_in": STEP | {"numbers": [TERM, INT]}}, 130),
    "in a validation": ({"signal_in": {"place": "agents.base:BaseAgent.evaluate", "n": 2, "numbers": [INT]}}, 130),
    "in the last validation": (
        {"signal_in": {"place": "agents.base:BaseAgent.evaluate", "n": 4, "numbers": [TERM]}},
        143,
    ),
    "in a save": ({"signal_at": {"pattern": r"fsync .*/MANIFEST\.json", "number": TERM, "n": 3}}, 143),
    "in the test": ({"signal_in": {"place": "agents.base:BaseAgent.evaluate", "n": 6, "numbers": [INT]}}, 130),
    "while the best weights are read": (
        {"signal_in": {"place": "utils.runs.checkpoint:safetensors.torch.load", "numbers": [TERM]}},
        143,
    ),
    "while the report is written": ({"signal_at": {"pattern": r"fsync .*report\.json", "number": TERM}}, 143),
}


@pytest.mark.parametrize("at", MOMENTS)
def test_a_signal_at_a_weak_moment_costs_nothing(lab: Lab, at: str) -> None:
    fault, code = MOMENTS[at]
    name = f"moment-{list(MOMENTS).index(at)}"
    assert_left(lab.start("bag_of_embeddings", name, **fault), code)
    assert_same_end(lab, "bag_of_embeddings", name)


def test_a_second_signal_does_not_wait_for_the_save_to_end(lab: Lab) -> None:
    pattern = {"pattern": r"fsync .*/\.tmp-step-8/state\.pt", "number": INT}
    run = lab.start("bag_of_embeddings", "second", signal_in=STEP, signal_at=pattern)
    assert_left(run, 130, "from the last checkpoint")
    assert not (lab.path("second") / "checkpoints" / "step-8").exists()
    assert_same_end(lab, "bag_of_embeddings", "second")


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_saved_state_is_read_is_no_damage(lab: Lab, number: int) -> None:
    name = f"reading-{number}"
    first = lab.start("bag_of_embeddings", name, signal_in=STEP)
    assert_left(first, 143, f"saved step 8 in {Path('experiments') / name}")
    again = lab.start(
        "bag_of_embeddings", name, signal_in={"place": "utils.runs.checkpoint:torch.load", "numbers": [number]}
    )
    assert_left(again, CODES[signal.Signals(number)])
    assert_same_end(lab, "bag_of_embeddings", name)


def test_a_validation_that_a_signal_cut_short_stands_once_however_often_it_is_made_again(lab: Lab) -> None:
    """The step is saved without it, made good at the next start, and that start dies before it has saved that."""
    cut = {"place": "agents.base:BaseAgent.evaluate", "n": 4, "numbers": [TERM]}
    assert_left(lab.start("bag_of_embeddings", "cut", signal_in=cut), 143, "saved step 25 ")
    died = lab.start("bag_of_embeddings", "cut", die_at={"pattern": r"fsync .*/\.tmp-step-25/state\.pt"})
    assert died.wait() == DIED
    assert_same_end(lab, "bag_of_embeddings", "cut")
