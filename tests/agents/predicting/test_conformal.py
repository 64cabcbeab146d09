"""The least probability of a label in a set: by hand, and by simulation against the theorem."""

import math

import numpy as np
import pytest

from agents.predicting.conformal import least_probability
from utils.errors import ConfigError

NINE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("coverage", "least"),
    [(0.9, 0.1), (0.81, 0.1), (0.8, 0.2), (0.5, 0.5), (0.41, 0.5), (0.4, 0.6), (0.1, 0.9), (0.01, 0.9)],
)
def test_by_hand(coverage: float, least: float) -> None:
    """Of 9 scores the ceil(10 * coverage)-th smallest 1 - p: for 0.8 that of 0.2, so that 8 of the 9 are covered."""
    assert least_probability(NINE, coverage) == least


def test_a_rank_that_is_whole_is_not_rounded_up() -> None:
    gold = [i / 100 for i in range(99)]
    for percent in range(1, 100):  # 100 * 0.55 is 55.00000000000001
        assert least_probability(gold, percent / 100) == gold[99 - percent]


@pytest.mark.parametrize(("coverage", "needed"), [(0.9, 9), (0.95, 19), (0.999, 999)])
def test_too_few_rows_are_refused(coverage: float, needed: int) -> None:
    assert least_probability([0.5] * needed, coverage) == 0.5
    with pytest.raises(ConfigError, match=f"needs at least {needed} validation rows, the run has {needed - 1}"):
        least_probability([0.5] * (needed - 1), coverage)


@pytest.mark.parametrize("num_rows", [20, 57, 200])
@pytest.mark.parametrize("coverage", [0.7, 0.9, 0.95])
def test_the_coverage_is_that_of_the_theorem(num_rows: int, coverage: float) -> None:
    """Of scores without ties: ceil((n + 1) * coverage) / (n + 1), on average over draws of the validation rows."""
    generator, rounds = np.random.default_rng(num_rows), 20_000
    rows, new = generator.beta(2, 1, (rounds, num_rows)), generator.beta(2, 1, rounds)
    covered = [text >= least_probability(gold, coverage) for gold, text in zip(np.sort(rows), new, strict=True)]
    exact = math.ceil(round((num_rows + 1) * coverage, 6)) / (num_rows + 1)
    assert np.mean(covered) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / rounds))
