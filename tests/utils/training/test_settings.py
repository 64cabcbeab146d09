"""When a run validates, saves and ends, and which values are no settings."""

from dataclasses import replace
from typing import Any

import pytest

from utils.config.run_settings import RunSettings
from utils.training.run_state import RunState
from utils.training.settings import Interval, TrainSettings

STEPS_PER_EPOCH = 5


def states(num_steps: int) -> list[RunState]:
    """A run's state after each of its steps, epochs of five steps."""
    state, found = RunState(), []
    for _ in range(num_steps):
        state.count_step(0.0, 1, 1)
        if state.batch == STEPS_PER_EPOCH:
            state.end_epoch()
        found.append(replace(state))
    return found


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("1 step", list(range(1, 13))),
        ("3 steps", [3, 6, 9, 12]),
        ("1 epoch", [5, 10]),
        ("2 epochs", [10]),
        ("20 steps", []),
    ],
)
def test_an_interval_is_due_at_its_multiples(text: str, due: list[int]) -> None:
    assert [state.step for state in states(12) if Interval.parse(text).is_due(state)] == due
    assert not Interval.parse(text).is_due(RunState()), "before the first step nothing is due"


@pytest.mark.parametrize("text", ["", "3", "steps", "0 steps", "-1 steps", "1.5 epochs", "3 Steps", "3  steps", "3 steps ", "٣ steps", "3 stepss", "1 hour"])  # fmt: skip
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be such as '200 steps' or '1 epoch', got "):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("settings", "done"),
    [
        (TrainSettings(num_epochs=2), [10, 11, 12]),
        (TrainSettings(num_epochs=1), list(range(5, 13))),
        (TrainSettings(num_epochs=2, num_steps=12), [12]),
        (TrainSettings(num_epochs=9, num_steps=3), list(range(3, 13))),
    ],
)
def test_a_run_ends_after_its_epochs_or_else_its_steps(settings: TrainSettings, done: list[int]) -> None:
    assert [state.step for state in states(12) if settings.is_done(state)] == done


def test_the_last_step_is_always_validated() -> None:
    settings = TrainSettings(num_steps=8, validate_every="3 steps")
    assert [state.step for state in states(8) if settings.is_validation_due(state)] == [3, 6, 8]
    assert not settings.is_validation_due(RunState())


def test_saves_follow_their_own_interval() -> None:
    settings = TrainSettings(num_epochs=2, save_every="4 steps")
    assert [state.step for state in states(10) if settings.is_save_due(state)] == [4, 8]


# Patience.


def observed(gains: list[float]) -> RunState:
    state = RunState()
    for gain in gains:
        state.count_step(0.0, 1, 1)
        state.observe(gain)
    return state


@pytest.mark.parametrize(
    ("gains", "best_step", "num_bad"),
    [
        ([0.1, 0.2, 0.3], 3, 0),
        ([0.3, 0.2, 0.3], 1, 2),
        ([-5.0, -4.0, -6.0], 2, 1),
        ([0.3, 0.1, 0.4, 0.4], 3, 1),
    ],
)
def test_the_best_is_the_first_of_the_largest(gains: list[float], best_step: int, num_bad: int) -> None:
    state = observed(gains)
    assert (state.best_step, state.best_gain, state.num_bad) == (best_step, max(gains), num_bad)
    assert state.validated_step == len(gains)
    assert not state.is_stopped_early


@pytest.mark.parametrize(("patience", "is_stopped"), [(None, False), (1, True), (2, True), (3, False)])
def test_a_run_that_is_out_of_patience_is_done(patience: int | None, is_stopped: bool) -> None:
    state = observed([0.3, 0.1, 0.2])
    assert TrainSettings(num_steps=100, patience=patience).is_stopped_early(state) is is_stopped
    assert TrainSettings(num_steps=100, patience=patience).is_done(state) is is_stopped


def test_a_run_that_did_all_its_steps_is_not_stopped_early() -> None:
    state = observed([0.3, 0.1, 0.2])  # 3 steps
    assert TrainSettings(num_steps=3, patience=2).is_done(state)
    assert not TrainSettings(num_steps=3, patience=2).is_stopped_early(state)


def test_a_longer_patience_goes_on_where_a_shorter_one_had_stopped() -> None:
    state = observed([0.3, 0.1, 0.2])
    assert TrainSettings(num_steps=100, patience=2).is_done(state)
    assert not TrainSettings(num_steps=100, patience=3).is_done(state)
    assert not TrainSettings(num_steps=100, patience=None).is_done(state)


@pytest.mark.parametrize(("monitor", "gain"), [("+accuracy", 0.8), ("-accuracy", -0.8), ("-loss", -1.5)])
def test_a_gain_is_larger_where_it_is_better(monitor: str, gain: float) -> None:
    settings = TrainSettings(monitor=monitor)
    assert settings.gain({"accuracy": 0.8, "loss": 1.5}) == gain
    assert settings.metric == monitor[1:]


# What is refused.

COUNTS = [
    "num_epochs",
    "num_steps",
    "batch_size",
    "batch_tokens",
    "accumulation_steps",
    "patience",
    "log_every",
    "keep",
]


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_at_least_one(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got {value}$"):
        TrainSettings(**{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_grad_norm": 0.0}, "max_grad_norm must be positive, or null for none, got 0.0"),
        ({"monitor": "accuracy"}, "monitor must be a metric with its direction, such as +accuracy or -loss, got 'acc"),
        ({"monitor": "+"}, "monitor must be a metric with its direction"),
        ({"monitor": "+a b"}, "monitor must be a metric with its direction"),
        ({"validate_every": "often"}, "validate_every must be such as '200 steps' or '1 epoch', got 'often'"),
        ({"save_every": "0 steps"}, "save_every must be such as '200 steps' or '1 epoch', got '0 steps'"),
    ],
)
def test_a_bad_train_setting_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        TrainSettings(**values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed must be between 0 and"),
        ({"seed": 2**63}, "seed must be between 0 and"),
        ({"num_threads": 0}, "num_threads must be between 1 and 1024, got 0"),
    ],
)
def test_a_bad_run_setting_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        RunSettings(agent="x", name="x", **values)
    assert str(caught.value).startswith(message)


def test_the_largest_seed_is_one_that_torch_takes() -> None:
    import torch

    torch.Generator().manual_seed(RunSettings(agent="x", name="x", seed=2**63 - 1).seed)
