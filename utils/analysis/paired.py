"""Two sets of runs on the same test rows: is their difference more than chance?

Three questions, kept apart: the same models on other test rows (a bootstrap over rows), the same recipes under other seeds (a
t-interval), and both at once (a bootstrap of two levels). R: runs, N: test rows, B: resamples.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.95
POWER = 0.8  # of the difference that a test is said to see
NUM_RESAMPLES = 2000


class Interval(NamedTuple):
    """A difference with its 95% interval and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


def row_weights(num_rows: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """(B, N): how often each row is drawn where N rows are drawn with replacement, B times."""
    generator, weights = np.random.default_rng(seed), np.zeros((num_resamples, num_rows), dtype=np.float32)
    for row in weights:
        row += np.bincount(generator.integers(0, num_rows, num_rows), minlength=num_rows)
    return weights


def over_rows(first: np.ndarray, second: np.ndarray, observed: float) -> Interval:
    """Same models, other test rows: the paired bootstrap (Efron and Tibshirani 1993, chapters 13 and 16).

    first, second: (B,) each side's value on the same resamples; observed: second - first on the rows themselves. The p-value is how
    often a difference that is moved to 0 is as far from it as the observed one.
    """
    differences = second - first
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    moved = np.abs(differences - observed)
    if (reached := int((moved >= abs(observed) - 1e-12).sum())) or (deviation := float(np.std(differences))) < 1e-9:
        p = (1 + reached) / (1 + len(differences))
    else:  # no resample reached it: the tail of a normal distribution
        p = min(1 / (1 + len(differences)), 2 * float(special.ndtr(-abs(observed) / deviation)))
    return Interval(observed, float(low), float(high), p)


def over_seeds(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Same recipes, other seeds: Welch's t-interval of the difference of the means (Welch 1947).

    None with one seed on a side, or where no seed changes anything, of which nothing can be estimated.
    """
    if min(len(first), len(second)) < 2:
        return None
    difference = float(np.mean(second) - np.mean(first))
    variances = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    if not (error := math.sqrt(sum(variances))):
        return None
    squares = sum(v * v / (len(values) - 1) for v, values in zip(variances, (first, second), strict=True))
    freedom = sum(variances) ** 2 / squares
    reach = error * t_quantile(freedom)
    p = 2 * float(special.stdtr(freedom, -abs(difference) / error))
    return Interval(difference, difference - reach, difference + reach, p)


def over_both(first: np.ndarray, second: np.ndarray, observed: float, seed: int = 0) -> Interval | None:
    """Other rows and other seeds: a bootstrap of two levels, rows (the same for all runs), then seeds within each side.

    first, second: (B, R) the values of each side's runs on the same resamples. None with one seed on a side.
    """
    if min(first.shape[1], second.shape[1]) < 2:
        return None
    generator = np.random.default_rng(seed)
    freedom = first.shape[1] + second.shape[1] - 2
    wide = t_quantile(freedom) / t_quantile(math.inf)  # few seeds say little of their spread
    differences = _drawn_mean(second, wide, generator) - _drawn_mean(first, wide, generator)
    return over_rows(np.zeros_like(differences), differences, observed)


def _drawn_mean(values: np.ndarray, wide: float, generator: np.random.Generator) -> np.ndarray:
    """(B, R) -> (B,): the mean of the runs on each resample of rows, moved as other seeds would move it.

    The mean of n values drawn with replacement varies by (n - 1) / n of what it should, which is put right.
    """
    num_resamples, n = values.shape
    drawn = generator.integers(0, n, (num_resamples, n))
    at_seeds = values.mean(axis=0)  # (R,)
    deviations = at_seeds[drawn].mean(axis=1) - at_seeds.mean()
    of_seeds = float(np.var(at_seeds, ddof=1))
    share = variance_of_seeds(values) / of_seeds if of_seeds else 0.0
    return values.mean(axis=1) + wide * math.sqrt(share * n / (n - 1)) * deviations


def variance_of_seeds(values: np.ndarray) -> float:
    """(B, R) on resampled rows -> the variance of a seed's value, without what seeds differ by on single rows.

    That part the resampling of rows has moved already; to count it twice would widen every interval.
    """
    n = values.shape[1]
    of_single_rows = float(np.mean(np.var(values - values.mean(axis=1, keepdims=True), axis=0))) * n / (n - 1)
    return max(0.0, float(np.var(values.mean(axis=0), ddof=1)) - of_single_rows)


def share_of_seeds(first: np.ndarray, second: np.ndarray) -> float:
    """How much of the variance of the difference comes from the seeds; the rest is from the test rows. (B, R) each."""
    rows = float(np.var(second.mean(axis=1) - first.mean(axis=1)))
    seeds = sum(variance_of_seeds(values) / values.shape[1] for values in (first, second))
    return seeds / (seeds + rows) if seeds + rows else 0.0


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """p-value of McNemar's exact test (McNemar 1947; exact by the binomial): (N,) bool each, whether a row was answered right.

    Only rows that one side alone has right count: were both equally good, each would be a coin's toss.
    """
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    n, k = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * float(special.bdtr(k, n, 0.5))) if n else 1.0


def adjusted_for(p_values: Sequence[float], num_tests: int) -> list[float]:
    """p-values adjusted for `num_tests` tests: the chance of any false rejection at 0.05 is at most 5%.

    Holm's (1979) where all of them are here, else Bonferroni's: of pairs with the best alone, which the same data has chosen.
    """
    if num_tests > len(p_values):
        return [min(1.0, num_tests * p) for p in p_values]
    order, adjusted, largest = np.argsort(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def seen_in_most(interval: Interval) -> float:
    """The difference that a test as precise as this one sees in 80% of the cases: 2.8 standard errors."""
    error = (interval.high - interval.low) / (2 * t_quantile(math.inf))
    return (t_quantile(math.inf) + float(special.ndtri(POWER))) * error


def t_quantile(freedom: float) -> float:
    """The quantile of Student's t that a two-sided 95% interval reaches to; of the normal distribution for infinite freedom."""
    if math.isinf(freedom):
        return float(special.ndtri((1 + LEVEL) / 2))
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95% score interval of a proportion (Wilson 1927), which is right at 0 and at 1, too."""
    z, share = t_quantile(math.inf), count / total
    scale = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return max(0.0, middle - reach), min(1.0, middle + reach)
