"""The tests beside scipy's and values by hand, and how often they are wrong about simulated runs of which the truth is known."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lab import of_tier
from scipy import stats

from utils.analysis import paired
from utils.analysis.comparing import p_among
from utils.analysis.paired import (
    Interval,
    adjusted_for,
    mcnemar,
    over_both,
    over_rows,
    over_seeds,
    row_weights,
    seen_in_most,
    share_of_seeds,
)


def answers(generator: np.random.Generator, hardness: np.ndarray, num_seeds: int, of_seeds: float) -> np.ndarray:
    """(N, R) right answers of a recipe with preferences of its own, whose seeds differ by `of_seeds` in accuracy."""
    own = 1 / (1 + np.exp(-hardness - generator.normal(0, 1, len(hardness))))
    shifts = generator.normal(0, of_seeds, num_seeds)
    return generator.random((len(own), num_seeds)) < np.clip(own[:, None] + shifts, 0, 1)


def test_weights_are_draws_of_all_rows() -> None:
    weights = row_weights(50, 400)
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == 1.0
    assert weights.var() == pytest.approx(49 / 50, rel=0.05)  # of a binomial count
    assert (row_weights(50, 400) == weights).all(), "the same draws each time"


def test_the_bootstrap_over_rows_is_scipys() -> None:
    generator = np.random.default_rng(3)
    a, b = (generator.random(300) < share for share in (0.7, 0.78))
    weights = row_weights(300, 4000)
    found = over_rows(weights @ a / 300, weights @ b / 300, b.mean() - a.mean())
    pair = (b.astype(float), a.astype(float))
    expected = stats.bootstrap(
        pair, lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), paired=True, method="percentile", rng=1
    )
    assert found.difference == b.mean() - a.mean()
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.005)


def test_the_interval_over_seeds_is_welchs() -> None:
    first, second = [0.81, 0.83, 0.80], [0.85, 0.84, 0.88, 0.86]
    found, expected = over_seeds(first, second), stats.ttest_ind(second, first, equal_var=False)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert over_seeds([0.8], second) is None
    assert over_seeds([0.8, 0.8], [0.9, 0.9]) is None, "two equal values tell nothing of others"


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 9), (5, 5), (30, 50), (3, 0)])
def test_mcnemar_is_a_binomial_test(only_first: int, only_second: int) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True] * 20 + [False] * 7)
    second = np.array([False] * only_first + [True] * only_second + [True] * 20 + [False] * 7)
    n = only_first + only_second
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(only_first, n).pvalue if n else 1.0)


def test_adjusted_values_by_hand() -> None:
    assert adjusted_for([0.01, 0.04, 0.03], 3) == pytest.approx(
        [0.03, 0.06, 0.06]
    )  # 3 x 0.01; 2 x 0.03, and not below it
    assert adjusted_for([0.5, 0.9], 2) == [1.0, 1.0]
    assert adjusted_for([], 0) == []
    assert adjusted_for([0.001, 0.02, 0.5], 10) == pytest.approx([0.01, 0.2, 1.0])


def test_pairs_with_the_best_of_many_are_rarely_called_different() -> None:
    """Ten equal recipes, the best of which is chosen by the same figures: one false difference in at most 5% of the cases."""
    generator, wrong = np.random.default_rng(8), 0
    for _ in range(400):
        values = generator.normal(0.8, 0.01, (10, 8))
        values = values[np.argsort(values.mean(axis=1))]
        found = [over_seeds(each, values[-1]) for each in values[:-1]]
        wrong += min(adjusted_for([each.p for each in found if each], 45)) < 0.05
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_difference_beyond_all_draws_has_the_normal_tail() -> None:
    weights = row_weights(400, 500)
    right, wrong = np.arange(400) % 10 < 8, np.arange(400) % 10 < 2
    found = over_rows(weights @ wrong / 400, weights @ right / 400, 0.6)
    assert 0 < found.p < 1e-20


def test_the_share_of_seeds_leaves_out_what_is_of_single_rows() -> None:
    """Seeds that differ only by chance on each row explain next to nothing; seeds that are shifted, their variance's share."""
    generator, num_rows = np.random.default_rng(6), 2000
    weights = row_weights(num_rows, 1000)
    shares = {}
    for of_seeds in (0.0, 0.05):
        found = []
        for _ in range(20):
            hardness = generator.normal(1, 1.5, num_rows)
            runs = [weights @ answers(generator, hardness, 5, of_seeds).astype(np.float32) / num_rows for _ in range(2)]
            found.append(share_of_seeds(*runs))
        shares[of_seeds] = float(np.mean(found))
    assert shares[0.0] < 0.15
    assert shares[0.05] > 0.7


def test_what_most_tests_would_see() -> None:
    """Of a normal difference with standard error 1, 2.8 is found in 80% of the cases."""
    interval = Interval(0.0, -1.959964, 1.959964, 1.0)
    assert seen_in_most(interval) == pytest.approx(2.8016, abs=1e-4)
    assert stats.norm.sf(1.959964 - seen_in_most(interval)) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("of_seeds", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_both_levels_are_right_about_equal_recipes(num_seeds: int, of_seeds: float) -> None:
    """Intervals cover the truth, 0, in 93 to 98% of the cases, in the few of `make test` within four standard errors more."""
    generator, num, num_rows = np.random.default_rng(7), of_tier(200, 1000), 800
    weights, covered = row_weights(num_rows, 500), 0
    for case in range(num):
        hardness = generator.normal(2, 1.5, num_rows)
        runs = [answers(generator, hardness, num_seeds, of_seeds) for _ in range(2)]
        resampled = [weights @ each.astype(np.float32) / num_rows for each in runs]
        found = over_both(*resampled, float(runs[1].mean() - runs[0].mean()), seed=case)
        assert found is not None
        covered += found.low <= 0 <= found.high
    noise = 4 * math.sqrt(0.05 * 0.95 / num) if num < 1000 else 0.005
    assert 0.93 - noise <= covered / num <= 0.98 + noise  # a little more where seeds hardly differ


def test_single_models_are_called_different_as_often_as_is_said() -> None:
    """Two models of equal accuracy: a p-value below 0.05 in 3 to 7% of the cases."""
    generator, num, num_rows = np.random.default_rng(5), of_tier(300, 1000), 1500
    weights, wrong = row_weights(num_rows, 800), {"rows": 0, "mcnemar": 0, "seeds": 0}
    for _ in range(num):
        hardness = generator.normal(1, 1.5, num_rows)
        first, second = (answers(generator, hardness, 1, 0.0)[:, 0] for _ in range(2))
        found = over_rows(weights @ first / num_rows, weights @ second / num_rows, float(second.mean() - first.mean()))
        wrong["rows"] += found.p < 0.05
        wrong["mcnemar"] += mcnemar(first, second) < 0.05
        seeds = over_seeds(*generator.normal(0.8, 0.01, (2, 4)))
        wrong["seeds"] += seeds is not None and seeds.p < 0.05
    noise = 4 * math.sqrt(0.05 * 0.95 / num) if num < 1000 else 0.0
    for name, count in wrong.items():
        assert max(0.03 - noise, 0.01) <= count / num <= 0.07 + noise, name


def test_rows_alone_say_nothing_of_recipes() -> None:
    """Single runs of equal recipes whose seeds differ by a point: called different far more often than in 5% of the cases."""
    generator, num_rows, wrong = np.random.default_rng(4), 1000, 0
    weights = row_weights(num_rows, 500)
    for _ in range(200):
        hardness = generator.normal(2, 1.5, num_rows)
        first, second = (answers(generator, hardness, 1, 0.01)[:, 0] for _ in range(2))
        found = over_rows(weights @ first / num_rows, weights @ second / num_rows, float(second.mean() - first.mean()))
        wrong += found.p < 0.05
    assert 0.08 < wrong / 200 < 0.25


def test_one_seed_says_nothing_of_seeds() -> None:
    assert over_both(np.zeros((5, 1)), np.zeros((5, 2)), 0.0) is None
    assert paired.t_quantile(math.inf) == pytest.approx(1.959964)
    assert paired.t_quantile(4) == pytest.approx(2.776445)


def test_a_difference_without_spread_has_a_p_value() -> None:
    """A rounding error is no spread, of which a normal tail would be taken."""
    assert paired.over_rows(np.full(2000, 0.5), np.full(2000, 0.6), 0.1).p == 1 / 2001


def test_some_of_several_equal_recipes_of_two_seeds_are_rarely_called_different() -> None:
    """Five recipes, ten pairs, rows enough that seeds decide: without what the seeds alone say, in about 20% of the cases."""
    generator, num, num_rows, wrong = (
        np.random.default_rng(3),
        of_tier(60, 300),
        2000,
        {"as in compare": 0, "both alone": 0},
    )
    weights = row_weights(num_rows, 1000)
    for case in range(num):
        hardness = generator.normal(2, 1.5, num_rows)
        recipes = [answers(generator, hardness, 2, 0.01).astype(np.float32) for _ in range(5)]
        drawn, means = [weights @ each / num_rows for each in recipes], [each.mean(axis=0) for each in recipes]
        both, seeds = [], []
        for i, j in itertools.combinations(range(5), 2):
            found = over_both(drawn[i], drawn[j], float(means[j].mean() - means[i].mean()), seed=case)
            alone = over_seeds(means[i].tolist(), means[j].tolist())
            assert found is not None
            pair: Any = SimpleNamespace(p=found.p, seeds=alone, both=found)
            both.append(found.p)
            seeds.append(p_among(pair, 10))
        wrong["both alone"] += min(adjusted_for(both, 10)) < 0.05
        wrong["as in compare"] += min(adjusted_for(seeds, 10)) < 0.05
    noise = 4 * math.sqrt(0.05 * 0.95 / num) if num < 300 else 0.01
    assert wrong["as in compare"] / num <= 0.05 + noise
    assert wrong["both alone"] > wrong["as in compare"]
