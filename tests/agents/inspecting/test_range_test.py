"""The learning-rate range test's arithmetic."""

import math

import numpy as np
import pytest

from agents.inspecting.range_test import SMOOTHING, has_exploded, rates, smoothed, suggested


def test_rates_rise_by_one_factor() -> None:
    assert rates(1e-4, 1.0, 5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert rates(1e-6, 10.0, 100) == pytest.approx(np.geomspace(1e-6, 10.0, 100).tolist())


def test_smoothing_is_a_weighted_mean() -> None:
    losses = np.random.default_rng(0).normal(3.0, 1.0, 20)
    for end, value in enumerate(smoothed(losses.tolist()), start=1):
        weights = SMOOTHING ** np.arange(end)[::-1]
        assert value == pytest.approx(np.average(losses[:end], weights=weights))


def test_the_suggestion_is_a_tenth_of_the_lowest() -> None:
    """A valley whose floor is at 0.05."""
    lrs = rates(1e-5, 10.0, 200)
    losses = [2.0 + min(0.0, -1.5 + 0.4 * (math.log(lr) - math.log(0.05)) ** 2) for lr in lrs]
    assert suggested(lrs, losses) == pytest.approx(0.005, rel=0.1)


@pytest.mark.parametrize("losses", [[1.0] * 50, [1.0 + 0.01 * i for i in range(50)], [1.0, 0.99] * 25])
def test_no_suggestion_where_nothing_is_learnt(losses: list[float]) -> None:
    assert suggested(rates(1e-3, 1.0, 50), losses) is None


@pytest.mark.parametrize(
    ("averages", "expected"),
    [([2.0, 1.0, 3.9], False), ([2.0, 1.0, 4.1], True), ([2.0, math.nan], True), ([math.inf], True)],
)
def test_an_explosion(averages: list[float], expected: bool) -> None:
    assert has_exploded(averages) == expected
