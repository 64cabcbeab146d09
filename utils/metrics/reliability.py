"""How often a classifier is right at each confidence, counted from the lines of predictions.jsonl; without torch.

The confidence of a text is the probability of its predicted label. With several labels a text, each label of each text is a
decision, and its confidence the probability of what was decided. Bins as in `CalibrationError` (utils/metrics/scores.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

NUM_BINS = 15  # (0, 1/15], (1/15, 2/15], ... (Guo et al. 2017, https://arxiv.org/abs/1706.04599)
Lines = Sequence[Mapping[str, Any]]


def decisions_of(lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """N lines with D decisions each -> (N, D) confidences, float32 as they were computed, and (N, D) whether each is right."""
    if not isinstance(lines[0]["gold"], list):
        shares = np.array([line["probabilities"][line["predicted"]] for line in lines], dtype=np.float32)
        return shares[:, None], np.array([line["gold"] == line["predicted"] for line in lines])[:, None]
    place = {label: i for i, label in enumerate(lines[0]["probabilities"])}
    shares = np.empty((len(lines), len(place)), dtype=np.float32)
    is_gold, is_predicted = (np.zeros(shares.shape, dtype=bool) for _ in range(2))
    for row, line in enumerate(lines):
        shares[row] = list(line["probabilities"].values())
        is_gold[row, [place[label] for label in line["gold"] if label in place]] = True
        is_predicted[row, [place[label] for label in line["predicted"]]] = True
    return np.where(is_predicted, shares, 1 - shares), is_gold == is_predicted


def bins_of(confidences: np.ndarray) -> np.ndarray:
    """float32 -> the bin of each, from 0, in the same shape; in float32, as the metric counts them on the device."""
    return np.clip(np.ceil(confidences * np.float32(NUM_BINS)).astype(np.int64), 1, NUM_BINS) - 1


@dataclass(frozen=True)
class Reliability:
    """Sums over the decisions of each bin, (NUM_BINS,) each: their number, how many are right, their confidences."""

    counts: np.ndarray
    rights: np.ndarray
    confidences: np.ndarray

    @classmethod
    def of(cls, lines: Lines) -> Self:
        """Those of lines, of which there is at least one."""
        confidences, is_right = (values.ravel() for values in decisions_of(lines))
        confidences = np.nan_to_num(confidences, nan=1.0)
        bins = bins_of(confidences)
        return cls(*(np.bincount(bins, weights, NUM_BINS) for weights in (None, is_right, confidences)))

    @property
    def accuracy(self) -> np.ndarray:
        """(NUM_BINS,) the share of right decisions in each bin; 0 in an empty one."""
        return self.rights / np.maximum(self.counts, 1)

    @property
    def shares(self) -> np.ndarray:
        """(NUM_BINS,) the share of all decisions that each bin holds."""
        return self.counts / self.counts.sum()

    @property
    def error(self) -> float:
        """ECE: the gap between accuracy and mean confidence, averaged over the decisions (Guo et al. 2017, eq. 3)."""
        return float(np.abs(self.rights - self.confidences).sum() / self.counts.sum())
