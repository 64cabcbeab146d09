"""One recipe under several seeds, and two recipes beside each other by their seeds' values alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from utils.analysis.paired import t_quantile


class Spread(NamedTuple):
    """Mean, standard deviation and the mean's 95% interval over seeds; nan where one seed says nothing of it."""

    mean: float
    deviation: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """Of one or several seeds; the interval is Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Spread(mean, math.nan, math.nan, math.nan)
    deviation = float(np.std(values, ddof=1))
    reach = t_quantile(len(values) - 1) * deviation / math.sqrt(len(values))
    return Spread(mean, deviation, mean - reach, mean + reach)


def almost_stochastic_order(
    first: Sequence[float], second: Sequence[float], num_resamples: int = 1000, seed: int = 0
) -> float:
    """eps_min of "first is better": below 0.5 it is better almost stochastically, 0 means at every quantile.

    Dror, Shlomov and Reichart (2019, https://aclanthology.org/P19-1266), with the violation ratio of del Barrio et
    al. (2018) and its upper confidence bound at 95%. first, second: scores of seeds, larger is better; five or more each.
    """
    generator = np.random.default_rng(seed)
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    observed = violation_ratio(a, b)
    drawn = [violation_ratio(generator.choice(a, len(a)), generator.choice(b, len(b))) for _ in range(num_resamples)]
    scale = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    deviation = float(np.std([scale * (value - observed) for value in drawn]))
    bound = observed - float(special.ndtri(0.05)) * deviation / scale
    return float(np.clip(bound, 0.0, 1.0))


def violation_ratio(a: np.ndarray, b: np.ndarray, step: float = 0.001) -> float:
    """How much of the squared distance between the quantile functions lies where b's is above a's, in [0, 1]; 0.5 of equal ones."""
    places = np.arange(step, 1.0, step)
    sorted_a, sorted_b = np.sort(a), np.sort(b)
    at_a = sorted_a[np.ceil(places * len(a)).astype(int) - 1]
    at_b = sorted_b[np.ceil(places * len(b)).astype(int) - 1]
    squares = (at_a - at_b) ** 2
    return float(squares[at_b > at_a].sum() / total) if (total := squares.sum()) else 0.5
