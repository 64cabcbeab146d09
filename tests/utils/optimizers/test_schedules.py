"""Learning rates at known points: a pure function of the step, so that a resumed run has the very same."""

import math
from typing import Any

import pytest
import torch
import transformers

from utils.optimizers.schedules import (
    SCHEDULERS,
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
)

TOTAL = 100
TABLE: dict[str, dict[str, Any]] = {name: {} for name in SCHEDULERS} | {
    "linear": {"warmup_steps": 10},
    "cosine": {"warmup_steps": 10},
    "inverse_sqrt": {"warmup_steps": 10},
    "noam": {"warmup_steps": 10},
}


def make(name: str, **options: Any) -> Schedule:
    return SCHEDULERS[name](TOTAL, **(options or TABLE[name]))


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (Constant(TOTAL), {0: 1.0, 50: 1.0, 100: 1.0}),
        (Linear(TOTAL), {0: 1.0, 25: 0.75, 50: 0.5, 99: 0.01, 100: 0.0, 150: 0.0}),
        (Linear(TOTAL, warmup_steps=20), {0: 0.05, 9: 0.5, 19: 1.0, 20: 1.0, 60: 0.5, 100: 0.0}),
        (Linear(TOTAL, warmup_steps=100), {0: 0.01, 99: 1.0}),
        (Cosine(TOTAL), {0: 1.0, 25: 0.5 + math.sqrt(2) / 4, 50: 0.5, 100: 0.0, 150: 0.0}),
        (Cosine(TOTAL, warmup_steps=20), {0: 0.05, 19: 1.0, 20: 1.0, 60: 0.5, 100: 0.0}),
        (Linear(1), {0: 1.0}),
        (Cosine(1, warmup_steps=1), {0: 1.0}),
        (InverseSqrt(TOTAL, warmup_steps=16), {0: 1 / 16, 7: 0.5, 15: 1.0, 63: 0.5, 99: 0.4, 255: 0.25}),
        (InverseSqrt(TOTAL, warmup_steps=1), {0: 1.0, 3: 0.5}),
        (OneCycle(TOTAL), {0: 0.04, 29: 1.0, 64: 0.500002, 99: 4e-6, 150: 4e-6}),
        (OneCycle(TOTAL, warmup_ratio=0, final_factor=0.1), {99: 0.1}),
    ],
)
def test_factors_at_known_steps(schedule: Schedule, points: dict[int, float]) -> None:
    assert {step: schedule.factor(step) for step in points} == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(SCHEDULERS) - {"noam"}))  # whose rate follows from the model's size
def test_every_step_of_a_run_has_a_rate_between_zero_and_the_optimizers(name: str) -> None:
    factors = [make(name).factor(step) for step in range(TOTAL)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1.0, "the rate of the config is reached"


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_rate_rises_through_the_warm_up_and_falls_ever_after(name: str) -> None:
    factors = [make(name).factor(step) for step in range(TOTAL + 1)]
    assert factors[:10] == sorted(set(factors[:10]))
    assert factors[10:] == sorted(set(factors[10:]), reverse=True)


def factors_of_transformers(name: str, warmup_steps: int) -> list[float]:
    """What transformers' own function of that name multiplies the lr by, update after update, with one more at the end."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=1.0)
    scheduler = transformers.get_scheduler(name, optimizer, warmup_steps, TOTAL)
    found = []
    for _ in range(TOTAL + 1):
        found += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("warmup_steps", [0, 1, 7, 50, 99, 100])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_transformers_schedules_are_ours_but_one_update_behind_in_the_warm_up(name: str, warmup_steps: int) -> None:
    ours = [make(name, warmup_steps=warmup_steps).factor(step) for step in range(TOTAL)]
    theirs = factors_of_transformers(name, warmup_steps)
    ahead = [step / warmup_steps for step in range(1, warmup_steps + 1)]
    assert theirs[:warmup_steps] == pytest.approx([0.0, *ahead[:-1]][:warmup_steps], abs=1e-12)
    assert ours == pytest.approx(ahead + theirs[warmup_steps:TOTAL], abs=1e-12)


@pytest.mark.parametrize("warmup_steps", [1, 7, 50, 99, 100])
def test_transformers_inverse_sqrt_is_ours_one_update_later(warmup_steps: int) -> None:
    ours = [make("inverse_sqrt", warmup_steps=warmup_steps).factor(step) for step in range(TOTAL)]
    assert ours == pytest.approx(factors_of_transformers("inverse_sqrt", warmup_steps)[1:], abs=1e-12)


def test_transformers_constant_is_ours() -> None:
    assert [make("constant").factor(step) for step in range(TOTAL)] == factors_of_transformers("constant", 0)[:TOTAL]


@pytest.mark.parametrize(("hidden_size", "warmup_steps"), [(512, 40), (64, 1), (256, 100)])
def test_inverse_sqrt_is_the_papers_rate_over_its_peak(hidden_size: int, warmup_steps: int) -> None:
    schedule = InverseSqrt(TOTAL, warmup_steps=warmup_steps)
    rates = [hidden_size**-0.5 * min(n**-0.5, n * warmup_steps**-1.5) for n in range(1, TOTAL + 1)]
    assert [schedule.factor(n - 1) for n in range(1, TOTAL + 1)] == pytest.approx([rate / max(rates) for rate in rates])
    noam = make("noam", hidden_size=hidden_size, warmup_steps=warmup_steps)
    assert [noam.factor(n - 1) for n in range(1, TOTAL + 1)] == pytest.approx(rates)


@pytest.mark.parametrize("total_steps", [2, 3, 10, 37, 100])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 0.25, 0.3, 0.77, 0.95])
@pytest.mark.parametrize(("start_factor", "final_factor"), [(0.04, 4e-6), (0.5, 0.01), (1.0, 0.1)])
def test_one_cycle_is_torchs(total_steps: int, warmup_ratio: float, start_factor: float, final_factor: float) -> None:
    schedule = OneCycle(total_steps, warmup_ratio=warmup_ratio, start_factor=start_factor, final_factor=final_factor)
    if warmup_ratio * total_steps == 1:  # torch divides by zero at its first step
        assert schedule.factor(0) == 1.0
        return
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))])
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=total_steps,
        pct_start=warmup_ratio,
        div_factor=1 / start_factor,
        final_div_factor=start_factor / final_factor,
        cycle_momentum=False,
    )
    for step in range(total_steps):
        assert schedule.factor(step) == pytest.approx(torchs.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimizer.step()
        if step + 1 < total_steps:
            torchs.step()


@pytest.mark.parametrize("name", ["linear", "cosine", "inverse_sqrt"])
@pytest.mark.parametrize(("ratio", "steps"), [(0.1, 10), (0.101, 11), (0.001, 1), (1.0, 100)])
def test_a_ratio_is_that_share_of_the_steps_rounded_up(name: str, ratio: float, steps: int) -> None:
    by_ratio, by_steps = make(name, warmup_ratio=ratio), make(name, warmup_steps=steps)
    assert [by_ratio.factor(step) for step in range(TOTAL)] == [by_steps.factor(step) for step in range(TOTAL)]


def test_apply_sets_the_rate_of_every_group_from_its_own_first_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": lr, "initial_lr": lr} for lr in (0.1, 0.01)]
    optimizer = torch.optim.SGD(groups)
    for step in (50, 75, 0, 50):  # in any order: nothing is multiplied up
        Linear(TOTAL).apply(optimizer, step)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear", {"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ("cosine", {"warmup_steps": 101}, "warmup_steps must be at most the 100 steps of the run, got 101"),
        ("linear", {"warmup_ratio": 1.5}, "warmup_ratio must be between 0 and 1, got 1.5"),
        ("cosine", {"warmup_ratio": -0.1}, "warmup_ratio must be between 0 and 1, got -0.1"),
        (
            "linear",
            {"warmup_ratio": 0.1, "warmup_steps": 5},
            "warmup_ratio cannot be combined with warmup_steps, got 0.1 and 5",
        ),
        ("inverse_sqrt", {"warmup_steps": 0}, "warmup_steps must be at least 1, or warmup_ratio positive"),
        ("noam", {"hidden_size": 0, "warmup_steps": 10}, "hidden_size must be at least 1, got 0"),
        ("inverse_sqrt", {"warmup_ratio": 0.0}, "warmup_steps must be at least 1, or warmup_ratio positive"),
        ("one_cycle", {"warmup_ratio": 1.0}, "warmup_ratio must be in [0, 1), got 1.0"),
        ("one_cycle", {"start_factor": -0.1}, "start_factor must be between 0 and 1, got -0.1"),
        ("one_cycle", {"final_factor": 1.5}, "final_factor must be between 0 and 1, got 1.5"),
        ("reduce_on_plateau", {"decay": 0.0}, "decay must be between 0 and 1, got 0.0"),
        ("reduce_on_plateau", {"decay": 1.0}, "decay must be between 0 and 1, got 1.0"),
        ("reduce_on_plateau", {"patience": -1}, "patience must not be negative, got -1"),
        ("reduce_on_plateau", {"min_factor": -0.1}, "min_factor must be between 0 and 1, got -0.1"),
        ("reduce_on_plateau", {"min_factor": 1.5}, "min_factor must be between 0 and 1, got 1.5"),
    ],
)
def test_a_bad_option_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(name, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_without_a_step_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a schedule needs at least one step, got 0"):
        SCHEDULERS[name](0)


# The plateau.

GAINS = [0.1, 0.3, 0.3, 0.2, 0.25, 0.31, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


def heard(schedule: Schedule, gains: list[float]) -> list[float]:
    factors = []
    for gain in gains:
        schedule.observe(gain)
        factors.append(schedule.factor(0))
    return factors


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"patience": 1}, [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]),
        ({"patience": 0}, [1, 1, 0.5, 0.25, 0.125, 0.125, *[0.125 / 2**i for i in range(1, 7)]]),
        ({"patience": 3, "decay": 0.1}, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1]),
        ({"patience": 0, "min_factor": 0.3}, [1, 1, 0.5, *[0.3] * 9]),
    ],
)
def test_the_rate_falls_when_patience_is_over(options: dict[str, Any], expected: list[float]) -> None:
    assert heard(ReduceOnPlateau(TOTAL, **options), GAINS) == pytest.approx(expected)


@pytest.mark.parametrize("num_heard", range(len(GAINS)))
def test_a_plateau_goes_on_from_its_state(num_heard: int) -> None:
    first, second = ReduceOnPlateau(TOTAL, patience=1), ReduceOnPlateau(TOTAL, patience=1)
    whole = heard(ReduceOnPlateau(TOTAL, patience=1), GAINS)
    before = heard(first, GAINS[:num_heard])
    second.load_state_dict(first.state_dict())
    assert before + heard(second, GAINS[num_heard:]) == whole


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "reduce_on_plateau"])
def test_the_others_have_nothing_to_save_and_hear_nothing(name: str) -> None:
    schedule = make(name)
    before = [schedule.factor(step) for step in range(TOTAL)]
    for gain in GAINS:
        schedule.observe(gain)
    assert schedule.state_dict() == {}
    assert [schedule.factor(step) for step in range(TOTAL)] == before
