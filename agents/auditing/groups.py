"""Metrics by group, with the gaps between groups and their bootstrap intervals.

G: groups, L: labels, K: distinct pairs of gold and predicted label, B: resamples. A metric of a group is a function of how often
each of its K pairs occurs, so that reweighting a group's rows is one draw of K numbers: the Bayesian bootstrap (Rubin 1981) draws
their shares from a Dirichlet distribution. Its parameters are the counts and half an imagined row for each pair (Jeffreys' prior),
at most two rows in all: without them a rate of 0 or 1 in a small group would have an interval of no width. So the K pairs are those
that occur and, of each label that occurs, a right answer and two wrong ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.auditing.answers import Answers
from agents.auditing.intervals import NOTHING, NUM_RESAMPLES, TAILS, Estimate, of_gap
from utils.errors import ConfigError

PRIOR, MAX_PRIOR = 0.5, 2.0  # rows: for each pair, in all
MAX_GROUPS = 500
ALL_ROWS = "all rows"  # the name of the grouping that is none


class Gap(NamedTuple):
    """The largest and the smallest value of a metric over groups: their difference and the smallest over the largest."""

    metric: str
    largest: str
    smallest: str
    difference: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class Grouping:
    """Rows of each group, and each metric of each group; groups of one row are in no gap."""

    name: str
    sizes: dict[str, int]
    metrics: dict[str, dict[str, Estimate]]
    gaps: list[Gap]


class Pairs:
    """K pairs of gold and predicted label, as indicators: gold, predicted, correct (K, L); `of_row`: the pair of each row."""

    def __init__(self, answers: Answers, positive: str | None) -> None:
        size, gold = len(answers.labels), answers.gold
        keys = answers.predicted if gold is None else gold * size + answers.predicted
        distinct = np.union1d(keys, _imagined(answers))
        self.of_row = np.searchsorted(distinct, keys)
        one_hot = np.eye(size)
        self.labels, self.has_gold = answers.labels, gold is not None
        self.positive = None if positive is None else answers.labels.index(positive)
        self.predicted, self.gold = one_hot[distinct % size], one_hot[distinct // size]
        self.correct = self.predicted * self.gold

    def metrics(self, counts: np.ndarray, observed: np.ndarray) -> dict[str, np.ndarray]:
        """(..., K) how often each pair occurs -> each metric (...,); NaN where there is nothing to divide by.

        observed: counts (..., K) that say which labels occur at all: over those macro-F1 is the mean.
        """
        rows, predicted = counts.sum(axis=-1), counts @ self.predicted
        found = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.has_gold:
                gold, correct = counts @ self.gold, counts @ self.correct
                found["accuracy"] = correct.sum(axis=-1) / rows
                is_present = observed @ (self.gold + self.predicted) > 0
                f1 = np.where(is_present, 2 * correct / (gold + predicted), 0.0)
                found["macro_f1"] = f1.sum(axis=-1) / is_present.sum(axis=-1)
                if (p := self.positive) is not None:
                    found["false_positive_rate"] = (predicted - correct)[..., p] / (rows - gold[..., p])
                    found["false_negative_rate"] = (gold - correct)[..., p] / gold[..., p]
            is_all = self.positive is None or len(self.labels) > 2  # of two labels the other rate says nothing more
            for place, label in enumerate(self.labels if is_all else self.labels[:1]):
                found[f"selection_rate[{label}]"] = predicted[..., place] / rows
        return found


def _imagined(answers: Answers) -> np.ndarray:
    """Numbers of pairs, as in `Pairs`, for each label that occurs: right, and wrong with it as gold and as predicted label."""
    size, gold = len(answers.labels), answers.gold
    seen = np.unique(answers.predicted if gold is None else np.concatenate([gold, answers.predicted]))
    if len(seen) == 1:  # there are other labels that it could have been
        seen = np.union1d(seen, (seen + 1) % size)
    return seen if gold is None else np.concatenate([seen * size + seen, seen * size + np.roll(seen, 1)])


def by_group(name: str, groups: Sequence[str], answers: Answers, positive: str | None, seed: int = 0) -> Grouping:
    """Metrics by group. groups: the group of each row. Raises ConfigError for more groups than can be told apart."""
    names, of_row = np.unique(np.array(groups, dtype=object), return_inverse=True)
    if len(names) > MAX_GROUPS:
        raise ConfigError(
            f"command line: --groups: {name} has {len(names):,} values; at most {MAX_GROUPS} can be compared"
        )
    pairs = Pairs(answers, positive)
    counts = np.zeros((len(names), len(pairs.predicted)))
    np.add.at(counts, (of_row, pairs.of_row), 1)
    sizes, smoothed = counts.sum(axis=1).astype(int), counts + min(PRIOR, MAX_PRIOR / counts.shape[1])
    generator = np.random.default_rng(seed)
    draws = [
        pairs.metrics(generator.dirichlet(own, NUM_RESAMPLES), observed)
        for own, observed in zip(smoothed, counts, strict=True)
    ]
    values, centres = pairs.metrics(counts, counts), pairs.metrics(smoothed, counts)
    metrics, gaps = {}, []
    for metric in values:
        drawn = np.stack([own[metric] for own in draws], axis=1)  # (B, G)
        estimates = [_estimate(*found) for found in zip(values[metric], drawn.T, sizes, strict=True)]
        metrics[metric] = dict(zip(names.tolist(), estimates, strict=True))
        is_compared = (sizes > 1) & np.isfinite(values[metric])
        if is_compared.sum() > 1:
            spread = values[metric][is_compared], drawn[:, is_compared], centres[metric][is_compared]
            gaps.append(_gap(metric, names[is_compared], spread, 0.5 / sizes[is_compared]))
    return Grouping(name, dict(zip(names.tolist(), sizes.tolist(), strict=True)), metrics, gaps)


def _estimate(value: float, draws: np.ndarray, size: int) -> Estimate:
    """A group's value with its interval; one row has none."""
    if not math.isfinite(value):
        return NOTHING
    if size < 2:
        return Estimate(float(value), math.nan, math.nan)
    low, high = np.quantile(draws, TAILS).tolist()
    return Estimate(float(value), min(low, float(value)), max(high, float(value)))


def _gap(metric: str, names: np.ndarray, spread: tuple[np.ndarray, np.ndarray, np.ndarray], half: np.ndarray) -> Gap:
    """The gap of a metric; its ratio as a difference of logarithms, where a rate of 0 stands for half a row.

    spread: values (G,), draws (B, G) and centre (G,), as of `of_gap`; half: (G,) half a row of each group.
    """
    values = spread[0]
    largest, smallest = int(values.argmax()), int(values.argmin())
    ratio = NOTHING
    if values[largest]:
        value, logs = float(values[smallest] / values[largest]), [np.log(np.maximum(own, half)) for own in spread]
        _, low, high = of_gap(*logs)
        ratio = Estimate(value, math.exp(-high) if value else 0.0, math.exp(-low))
    value, low, high = of_gap(*spread)
    return Gap(metric, str(names[largest]), str(names[smallest]), Estimate(value, low, min(1.0, high)), ratio)
