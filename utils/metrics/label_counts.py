"""Metrics of labels as functions of integer counts, without torch: of a split's, of resampled rows, of any rows.

L: labels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """What every metric is computed from: of each label how often it was right, gold and predicted, (L,) each; of all texts how
    many were right in every label; and over how many labels a macro average is taken."""

    correct: np.ndarray
    gold: np.ndarray
    predicted: np.ndarray
    num_right: int
    num_texts: int
    num_averaged: int

    def precision_recall_f1(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(L,) each."""
        return f1_scores(self.correct, self.gold, self.predicted)

    def macro(self) -> list[float]:
        """Precision, recall and F1, the mean over the labels."""
        return [ratio(values.sum(), self.num_averaged) for values in self.precision_recall_f1()]

    def micro(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and F1 of the summed counts, () each."""
        return f1_scores(self.correct.sum(), self.gold.sum(), self.predicted.sum())


def mcc(counts: Counts) -> float:
    """Matthews correlation coefficient of several classes (Gorodkin 2004); 0 where all texts have one label, or one answer."""
    gold, predicted = counts.gold.astype(object), counts.predicted.astype(object)  # integers of any size
    n = counts.num_texts
    covariance = counts.num_right * n - gold @ predicted
    variances = (n * n - gold @ gold) * (n * n - predicted @ predicted)
    return ratio(covariance, variances**0.5)


# What `metrics` and train.monitor choose from. A new one is a function of the counts and an entry here.
METRICS: dict[str, Callable[[Counts], float]] = {
    "accuracy": lambda counts: ratio(counts.num_right, counts.num_texts),
    "macro_f1": lambda counts: counts.macro()[2],
    "micro_f1": lambda counts: float(counts.micro()[2]),
    "weighted_f1": lambda counts: ratio(counts.precision_recall_f1()[2] @ counts.gold, counts.gold.sum()),
    "exact_match": lambda counts: ratio(counts.num_right, counts.num_texts),
    "macro_precision": lambda counts: counts.macro()[0],
    "macro_recall": lambda counts: counts.macro()[1],
    "micro_precision": lambda counts: float(counts.micro()[0]),
    "micro_recall": lambda counts: float(counts.micro()[1]),
    "balanced_accuracy": lambda counts: ratio(counts.precision_recall_f1()[1].sum(), float((counts.gold > 0).sum())),
    "mcc": mcc,
}
MAX_LABELS = 5000  # a line of predictions.jsonl holds as many probabilities
PROPORTIONS = (  # of texts, or nearly so: they vary as sqrt(p (1 - p) / n)
    "accuracy",
    "macro_f1",
    "micro_f1",
    "weighted_f1",
    "exact_match",
    "macro_precision",
    "macro_recall",
    "micro_precision",
    "micro_recall",
    "balanced_accuracy",
)
SINGLE_LABEL = ("balanced_accuracy", "mcc")  # not defined for several labels a text


def known_metrics(*, is_multi_label: bool) -> list[str]:
    """The names in METRICS for one label a text, or any number."""
    return [name for name in METRICS if not (is_multi_label and name in SINGLE_LABEL)]


def f1_scores(
    correct: np.ndarray, gold: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precision, recall, F1) from counts, elementwise; 0 where nothing was predicted or nothing is gold."""
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(gold, 1)
    return precision, recall, 2 * correct / np.maximum(gold + predicted, 1)


def ratio(part: float, whole: float) -> float:
    """part / whole, 0 of nothing."""
    return float(part) / float(whole) if whole else 0.0
