"""The smallest difference beside simulated runs, in which the project's own test must see it in 4 of 5 cases."""

import math

import numpy as np
import pytest
from lab import of_tier
from scipy import stats

from utils.analysis.paired import Interval, over_both, over_rows, row_weights, seen_in_most
from utils.analysis.power import assumed_disagreement, smallest_difference


def runs_of(
    generator: np.random.Generator, stable: np.ndarray, is_noisy: np.ndarray, deviation: float, num: int
) -> np.ndarray:
    """(N, R) right answers: `stable` but for noisy rows, which are tossed; then rows are flipped to shift each run's accuracy."""
    found = np.repeat(stable[:, None], num, axis=1)
    found[is_noisy] = generator.random((is_noisy.sum(), num)) < 0.5
    for run in found.T:
        shift = generator.normal(0, deviation)
        candidates = np.flatnonzero(run != (shift > 0))
        run[generator.choice(candidates, min(round(abs(shift) * len(run)), len(candidates)), replace=False)] = shift > 0
    return found


def power_of(
    num_rows: int, num_seeds: int, apart: float, single: float, deviation: float, difference: float, num: int
) -> float:
    """How often over_both, or over_rows for single runs, gives p < 0.05; accuracy is about 0.85."""
    generator, weights, seen = np.random.default_rng(1), row_weights(num_rows, 400), 0
    fixed = apart - single  # rows that one config always answers right and the other never
    for case in range(num):
        kind, is_right = generator.random(num_rows), generator.random(num_rows) < 0.88
        is_noisy = (kind >= fixed) & (kind < fixed + 2 * single)  # tossed rows differ in half of the pairs of runs
        second = np.where(kind < fixed, kind < (fixed + difference) / 2, is_right)
        first = np.where(kind < fixed, ~second, is_right)
        sides = [runs_of(generator, each, is_noisy, deviation, num_seeds) for each in (first, second)]
        observed = float(sides[1].mean() - sides[0].mean())
        a, b = (weights @ each.astype(np.float32) / num_rows for each in sides)
        found = over_both(a, b, observed, seed=case) or over_rows(a[:, 0], b[:, 0], observed)
        seen += found.p < 0.05
    return seen / num


CASES = [(1000, 1, 0.12, 0.0, 0.0), (400, 1, 0.25, 0.0, 0.0), (800, 3, 0.1, 0.04, 0.0), (800, 3, 0.15, 0.03, 0.015)]
FULL = [(800, 5, 0.12, 0.02, 0.01), (2000, 5, 0.15, 0.02, 0.03)]


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.full) for case in FULL)])
def test_the_tests_see_it_in_four_of_five_cases(case: tuple[int, int, float, float, float]) -> None:
    num_rows, num_seeds, apart, single, of_seeds = case
    deviation = math.sqrt(of_seeds**2 + single / (2 * num_rows))  # as measured over seeds on these rows
    difference = smallest_difference(num_rows, num_seeds, 0.85, deviation, apart, single)
    assert 0.75 <= power_of(*case, difference, of_tier(400, 1500)) <= 0.85


def test_with_one_seed_it_is_what_a_comparison_says_afterwards() -> None:
    """2.8 standard errors, by hand for D = 0.0351 of 500 rows: sqrt((0.08 - 0.0351^2) / 500) = 0.0125."""
    found = smallest_difference(500, 1, 0.9, disagreement=0.08)
    error = math.sqrt((0.08 - found**2) / 500)
    assert found == pytest.approx(0.0351, abs=1e-4)
    assert found == pytest.approx(seen_in_most(Interval(0.0, -1.959964 * error, 1.959964 * error, 1.0)), rel=1e-5)
    assert smallest_difference(500, 1, 0.9, seed_deviation=0.1, disagreement=0.08) == found, "its test sees no seeds"


@pytest.mark.parametrize("num_seeds", [3, 5, 20])
def test_without_rows_to_vary_it_is_that_of_a_t_test(num_seeds: int) -> None:
    """Of a million rows only the seeds are left: Student's t-test with 2k - 2 degrees of freedom, by scipy's noncentral t."""
    found = smallest_difference(1_000_000, num_seeds, 0.9, seed_deviation=0.01, disagreement=0.0001)
    freedom, error = 2 * num_seeds - 2, 0.01 * math.sqrt(2 / num_seeds)
    power = stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, found / error)
    assert power == pytest.approx(0.8, abs=0.01)


def test_it_shrinks_with_rows_seeds_and_agreement() -> None:
    def at(num_rows: int = 1000, num_seeds: int = 3, deviation: float = 0.01, apart: float | None = None) -> float:
        return smallest_difference(num_rows, num_seeds, 0.9, deviation, apart)

    assert at(num_rows=4000) < at() > at(num_seeds=5)
    assert at(apart=0.05) < at(apart=0.1)
    assert at() == at(apart=assumed_disagreement(0.9))
    assert smallest_difference(20, 1, 0.98) > assumed_disagreement(0.98), (
        "a larger difference needs more rows that differ"
    )


@pytest.mark.parametrize("words", [(0, 1, 0.9), (10, 0, 0.9), (10, 1, 90.0), (10, 1, 0.9, -1.0), (10, 1, math.nan)])
def test_what_is_no_count_or_share_is_refused(words: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        smallest_difference(*words)


def test_few_rows_show_nothing() -> None:
    assert math.isnan(smallest_difference(2, 2, 0.5, seed_deviation=0.4, disagreement=0.5))
