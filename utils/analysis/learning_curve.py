"""Learning curves: error(n) = a + b n^-c, fitted to the errors at several training sizes, and extrapolated to larger ones.

S: training sizes, K: draws of the parameters.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.analysis.paired import LEVEL
from utils.analysis.power import assumed_disagreement

MIN_SIZES = 3  # as many as the law has parameters: a curve through two points goes anywhere
NUM_TRIED, NUM_KEPT = 40_000, 4000
EXPONENTS = (0.05, 2.0)  # of c, log-uniform
MISFITS = (0.01, 0.2)  # deviation of real errors from the law, as a share of the error, log-uniform
TINY = 1e-12  # variance, for errors that are 0
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


class Range(NamedTuple):
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


class LearningCurve(NamedTuple):
    """Draws of the law, (K,) each: error(n) = floor + gain (n / largest)^-exponent; real errors deviate from it by misfit x error.

    largest: training size; of_seeds: variance of the mean over seeds; num_rows: see `fit_learning_curve`.
    """

    largest: int
    floor: np.ndarray
    gain: np.ndarray
    exponent: np.ndarray
    misfit: np.ndarray
    of_seeds: float
    num_rows: int | None

    def predict(self, size: float, seed: int = 0) -> Range:
        """The error that will be measured at a size: of the same test rows, as the mean over as many seeds."""
        errors = self.floor + self.gain * (size / self.largest) ** -self.exponent
        n = self.num_rows  # Laplace's rule: that n rows show no error does not make it certain that none comes
        smoothed = errors if n is None else (errors * n + 1) / (n + 2)
        noise = np.sqrt(_variances(smoothed, self.misfit, self.of_seeds, n))
        low, high = np.quantile(errors + noise * np.random.default_rng(seed).normal(size=len(errors)), ENDS)
        return Range(float(np.median(errors)), max(0.0, float(low)), float(high))

    def size_for(self, drop: float) -> Range:
        """Training size at which the error is lower by `drop` than at the largest one; infinite where the law never gets there."""
        left = np.maximum(self.gain - drop, 0.0)  # of what more rows can gain
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            factors = np.where(left > 0, (self.gain / left) ** (1 / self.exponent), math.inf)
        sizes = np.sort(self.largest * factors)
        low, value, high = (float(sizes[int(q * (len(sizes) - 1))]) for q in (ENDS[0], 0.5, ENDS[1]))
        return Range(value, low, high)


def fit_learning_curve(
    sizes: Sequence[int], errors: Sequence[Sequence[float]], num_rows: int | None = None, seed: int = 0
) -> LearningCurve:
    """Fit an inverse power law with all that is uncertain about it.

    sizes: (S,) increasing; errors: at each size those of its seeds; num_rows: test rows, where errors are shares of them.

    The law: Hestness et al. 2017 (https://arxiv.org/abs/1712.00409), Rosenfeld et al. 2020 (https://arxiv.org/abs/1909.12673). One
    curve of best fit extrapolates overconfidently (Mahmood et al. 2022, https://arxiv.org/abs/2207.01725): a few sizes hardly tell
    a low exponent from a high floor. So floors, exponents and misfits are drawn from wide distributions, each with the gain that
    fits it, and drawn again in proportion to their likelihood (sampling importance resampling, Rubin 1988). A mean error deviates
    from the law by its seeds, by chance on single test rows, and by the law's misfit, which the residuals weigh.

    Raises ValueError for fewer than three sizes, sizes that do not increase, and errors that are negative or not finite.
    """
    _check(sizes, errors)
    generator, means = np.random.default_rng(seed), np.array([float(np.mean(each)) for each in errors])
    floor = generator.random(NUM_TRIED) * means.min()
    exponent, misfit = (
        np.geomspace(*ends, NUM_TRIED)[generator.permutation(NUM_TRIED)] for ends in (EXPONENTS, MISFITS)
    )
    shape = (np.array(sizes) / sizes[-1]) ** -exponent[:, None]  # (K, S)
    of_seeds = _variance_over_seeds(errors)
    precision = 1 / _variances(means, misfit[:, None], of_seeds, num_rows)  # (K, S)
    information = (precision * shape**2).sum(axis=1)
    best = (precision * shape * (means - floor[:, None])).sum(axis=1) / information  # gain by weighted least squares
    misses = means - floor[:, None] - best[:, None] * shape
    fit = (np.log(precision).sum(axis=1) - (precision * misses**2).sum(axis=1) - np.log(information)) / 2
    weights = np.exp(fit - fit.max())
    kept = generator.choice(NUM_TRIED, NUM_KEPT, p=weights / weights.sum())
    gain = best + generator.normal(size=NUM_TRIED) / np.sqrt(information)
    gain = np.maximum(0.0, gain)  # more rows are never worse
    return LearningCurve(sizes[-1], floor[kept], gain[kept], exponent[kept], misfit[kept], of_seeds, num_rows)


def _check(sizes: Sequence[int], errors: Sequence[Sequence[float]]) -> None:
    if len(sizes) < MIN_SIZES or len(errors) != len(sizes):
        raise ValueError(
            f"a fit needs {MIN_SIZES} sizes or more, and errors at each, got {len(sizes)} and {len(errors)}"
        )
    if sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"sizes must be positive and increase, got {list(sizes)}")
    if not all(len(each) and all(0 <= error < math.inf for error in each) for each in errors):
        raise ValueError("errors must be finite and not negative, one or more at each size")


def _variance_over_seeds(errors: Sequence[Sequence[float]]) -> float:
    """Of a mean over seeds, pooled over the sizes; 0 with one seed each."""
    freedom = sum(len(each) - 1 for each in errors)
    squares = sum(float(np.var(each)) * len(each) for each in errors)
    return squares / max(freedom, 1) / (sum(map(len, errors)) / len(errors))


def _variances(errors: np.ndarray, misfit: np.ndarray, of_seeds: float, num_rows: int | None) -> np.ndarray:
    """Of measured mean errors around the law. Two sizes differ by chance on the rows on which their models disagree: half each."""
    of_rows = 0.0 if num_rows is None else assumed_disagreement(np.clip(1 - errors, 0.0, 1.0)) / (2 * num_rows)
    return np.asarray(of_seeds + (misfit * errors) ** 2 + of_rows + TINY)
