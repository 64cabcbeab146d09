"""Spreads over seeds beside scipy, the almost stochastic order beside deepsig (values taken once)."""

import math

import numpy as np
import pytest
from scipy import stats

from utils.analysis.seeds import almost_stochastic_order, spread_of, violation_ratio


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.81, 0.84, 0.80, 0.83]
    spread = spread_of(values)
    assert (spread.mean, spread.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (spread.low, spread.high) == pytest.approx(expected)
    assert spread_of([0.8])[0] == 0.8
    assert all(math.isnan(value) for value in spread_of([0.8])[1:])


def test_the_violation_ratio_by_hand() -> None:
    a, b = np.array([1.0, 2.0]), np.array([0.0, 3.0])
    assert violation_ratio(a, b) == pytest.approx(0.5, abs=0.01)  # 1 above in the lower half, 1 below in the upper one
    assert violation_ratio(a + 5, b) == 0.0
    assert violation_ratio(b, a + 5) == 1.0
    assert violation_ratio(a, a) == 0.5
    assert violation_ratio(np.array([1.0, 4.0]), b) == 0.0
    assert violation_ratio(np.array([2.0, 2.0]), b) == pytest.approx(1 / 5, abs=0.01)  # 1 of 4 + 1


# a = rng.normal(0.02 k, 0.05, 5 + k), b = rng.normal(0, 0.05, 8), in turn from one default_rng(0); deepsig 1.2.8's aso with
# 1,000 resamples, and its violation ratio.
DEEPSIG = [
    (0.575, 0.1447),
    (1.0, 0.9545),
    (0.607, 0.1232),
    (0.0, 0.0),
    (0.075, 0.0),
    (0.068, 0.0),
    (0.0, 0.0),
    (0.0, 0.0),
]


def test_the_order_is_deepsigs_within_its_noise() -> None:
    generator = np.random.default_rng(0)
    for k, (expected, ratio) in enumerate(DEEPSIG):
        a, b = generator.normal(0.02 * k, 0.05, 5 + k), generator.normal(0, 0.05, 8)
        assert violation_ratio(a, b) == pytest.approx(ratio, abs=2e-3)
        assert almost_stochastic_order(a.tolist(), b.tolist()) == pytest.approx(expected, abs=0.05)
