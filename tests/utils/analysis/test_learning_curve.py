"""Learning curves of which the law is known: the intervals hold what is measured later, and are no wider than they need be."""

import math

import numpy as np
import pytest
from lab import of_tier
from scipy import stats

from utils.analysis.learning_curve import fit_learning_curve

SIZES = [100, 200, 400, 800]
LAWS = [(0.05, 3.0, 0.5), (0.0, 1.0, 0.25), (0.1, 20.0, 1.0), (0.3, 0.0, 1.0)]  # a, b, c; the last one learns nothing


def law(size: float, a: float, b: float, c: float) -> float:
    return a + b * size**-c


def measured(
    generator: np.random.Generator, sizes: list[int], numbers: tuple[float, float, float], num_rows: int
) -> list[list[float]]:
    """Errors of three seeds: chance on the test rows, and a point of deviation over seeds in a hundred errors."""
    found = []
    for size in sizes:
        error = law(size, *numbers)
        drawn = error + generator.normal(
            0, math.sqrt(0.25 * error * (1 - error) / num_rows)
        )  # half are difficult for all
        found.append([abs(drawn + generator.normal(0, 0.03 * error)) for _ in range(3)])
    return found


@pytest.mark.parametrize("numbers", LAWS)
def test_intervals_hold_the_error_at_larger_sizes(numbers: tuple[float, float, float]) -> None:
    """95% intervals at twice and four times the largest size: in 93% of the cases or more, less the noise of `make test`."""
    generator, num = np.random.default_rng(0), of_tier(60, 400)
    for size in (1600, 3200):
        inside = 0
        for case in range(num):
            errors = measured(generator, [*SIZES, size], numbers, num_rows=1000)
            found = fit_learning_curve(SIZES, errors[:-1], num_rows=1000, seed=case).predict(size)
            inside += found.low <= np.mean(errors[-1]) <= found.high
            assert found.low <= found.value <= found.high
        assert stats.binomtest(inside, num, 0.93, alternative="less").pvalue > 0.01, (inside, num)


def test_the_interval_is_narrow_where_the_law_is_plain() -> None:
    """Six sizes without noise: within a tenth of the truth, and within a third of the interval's ends."""
    sizes = [100, 200, 400, 800, 1600, 3200]
    found = fit_learning_curve(sizes, [[law(size, *LAWS[0])] for size in sizes]).predict(6400)
    truth = law(6400, *LAWS[0])
    assert found.value == pytest.approx(truth, rel=0.05)
    assert 0.7 * truth < found.low < truth < found.high < 1.3 * truth


def test_intervals_grow_with_the_distance() -> None:
    curve = fit_learning_curve(SIZES, measured(np.random.default_rng(1), SIZES, LAWS[0], 1000), 1000)
    widths = [found.high - found.low for found in map(curve.predict, (800, 3200, 51200))]
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("numbers", LAWS[:3])
def test_the_size_for_a_point_holds_the_truth(numbers: tuple[float, float, float]) -> None:
    """b n^-c = b 800^-c - 0.01, solved for n."""
    _, b, c = numbers
    left = b * 800**-c - 0.01
    truth = (left / b) ** (-1 / c) if left > 0 else math.inf
    generator, num, inside = np.random.default_rng(2), of_tier(60, 400), 0
    for case in range(num):
        found = fit_learning_curve(SIZES, measured(generator, SIZES, numbers, 1000), 1000, case).size_for(0.01)
        inside += found.low <= truth <= found.high
        assert 800 < found.low <= found.value <= found.high
    assert stats.binomtest(inside, num, 0.93, alternative="less").pvalue > 0.01, (inside, num)


def test_a_curve_that_has_ended_reaches_nothing() -> None:
    found = fit_learning_curve(SIZES, [[0.3], [0.1], [0.004], [0.004]], 1000).size_for(0.01)
    assert found.low == found.value == found.high == math.inf, "an error of 0.004 cannot fall by 0.01"


def test_perfect_models_are_no_problem() -> None:
    found = fit_learning_curve(SIZES, [[0.0, 0.0]] * 4, 50)
    assert found.predict(1600).value == 0.0
    assert found.size_for(0.01).low == math.inf


@pytest.mark.parametrize(
    ("sizes", "errors", "message"),
    [
        ([1, 2], [[0.1]] * 2, "a fit needs 3 sizes or more"),
        ([1, 2, 3], [[0.1]] * 2, "got 3 and 2"),
        ([1, 3, 2], [[0.1]] * 3, "increase"),
        ([0, 1, 2], [[0.1]] * 3, "positive"),
        ([1, 2, 3], [[0.1], [], [0.1]], "one or more"),
        ([1, 2, 3], [[0.1], [-0.1], [0.1]], "not negative"),
        ([1, 2, 3], [[0.1], [math.nan], [0.1]], "finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes: list[int], errors: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_learning_curve(sizes, errors)


@pytest.mark.parametrize("num_rows", [50, 100, 1000])
def test_no_error_in_some_rows_is_not_none_in_all(num_rows: int) -> None:
    """After 0 errors in n rows a rate of 3 / n is within 95% (the rule of three)."""
    curve = fit_learning_curve([100, 200, 400, 800], [[0.4], [0.3], [0.15], [0.0]], num_rows)
    assert curve.predict(800).high > 0.3 / num_rows
    assert curve.predict(1600).high > 0.3 / num_rows
