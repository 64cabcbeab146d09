"""95% intervals of an audit: of a proportion, a mean, and of the gap between the extremes of many groups.

B: resamples, G: groups, N: texts.
"""

import math
from typing import NamedTuple

import numpy as np

from utils.analysis.paired import LEVEL, t_quantile, wilson_interval

NUM_RESAMPLES = 1000
TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


class Estimate(NamedTuple):
    """A value with its 95% interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


NOTHING = Estimate(math.nan, math.nan, math.nan)


def of_share(count: int, total: int) -> Estimate:
    """A proportion with Wilson's interval."""
    if not total:
        return NOTHING
    return Estimate(count / total, *wilson_interval(count, total))


def of_mean(values: np.ndarray) -> Estimate:
    """A mean over texts, (N,), with Student's t-interval; one text has none."""
    if len(values) < 2:
        return Estimate(float(values[0]), math.nan, math.nan) if len(values) else NOTHING
    mean, n = float(values.mean()), len(values)
    reach = t_quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - reach, mean + reach)


def of_gap(values: np.ndarray, draws: np.ndarray, centre: np.ndarray) -> Estimate:
    """The largest value less the smallest, with an interval that allows for their having been picked out of G groups.

    values, centre: (G,) observed, and what the draws (B, G) scatter about. The reach is the 95% quantile of the range of the
    deviations of all groups, as in Tukey's range test: then every pair of groups is covered at once, whichever is the extreme
    one. A percentile interval of the gap itself never holds 0, since a resample's largest and smallest value differ by chance.
    """
    gap, deviations = float(np.ptp(values)), draws - centre
    reach = float(np.quantile(np.ptp(deviations, axis=1), LEVEL))
    return Estimate(gap, max(0.0, gap - reach), gap + reach)
