"""Metrics of scores: how well probabilities are calibrated, and how well they rank texts. B: texts, L: labels.

Both come from histograms of integers on the device: summable, resumable, and independent of the order of the texts.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.metrics.labels import IGNORED, decide
from utils.metrics.reliability import NUM_BINS


class CalibrationError:
    """ECE: how far confidence and accuracy are apart in bins of equal width, on average (Guo et al. 2017, 15 bins).

    The confidence is the probability of the predicted label. With several labels a text, each of the B * L decisions counts, with
    the probability of what was decided. Confidences are float32, and summed without rounding, in units of 2**-30.
    """

    UNIT = 2**30

    def __init__(self, num_labels: int, device: torch.device | None = None, *, is_multi_label: bool) -> None:
        self.is_multi_label = is_multi_label
        # Of each bin the sum of (is right) - confidence, which is all that its gap needs; the last: number of decisions.
        self.counts = torch.zeros(NUM_BINS + 1, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, batch: Any) -> None:
        """outputs: logits (B, L); batch.columns["label"]: (B,), -100 where nothing is counted, or (B, L) of 0 and 1."""
        labels, logits = batch.columns["label"], outputs.float()
        decided = decide(logits, is_multi_label=self.is_multi_label)
        confidence = torch.sigmoid(logits.abs()) if self.is_multi_label else torch.softmax(logits, dim=-1).amax(dim=-1)
        confidence = confidence.nan_to_num(1.0)
        is_counted = (labels != IGNORED).long()
        gaps = ((decided == labels).long() * self.UNIT - (confidence * self.UNIT).long()) * is_counted
        bins = (confidence * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1  # (0, 1/15], (1/15, 2/15], ...
        self.counts.index_add_(0, bins.flatten(), gaps.flatten())
        self.counts[-1] += is_counted.sum()

    def compute(self) -> dict[str, float]:
        *gaps, num_decisions = self.counts.tolist()
        return {"ece": sum(map(abs, gaps)) / self.UNIT / max(num_decisions, 1)}

    report = compute


class AreaUnderCurve:
    """AUROC: the probability that a text with a label gets a higher score for it than one without; a tie is half a win.

    The mean over the labels that some texts have and others have not, each against the rest, as in scikit-learn's roc_auc_score
    (macro, ovr); 0 where there is no such label. The score is the log odds of the label's probability, s = log(p / (1 - p)), in
    32,768 bins of asinh(s), which are 1/1024 wide around 0 and s/1024 far from it, up to 4.4e6; with more than 16 labels, fewer
    bins: as many as 8 MB hold, and at least 1,024. Scores in one bin are taken as ties, so a label's area is off by at most half
    the share of its (positive, negative) pairs that share a bin.
    """

    def __init__(self, num_labels: int, device: torch.device | None = None, *, is_multi_label: bool) -> None:
        self.num_labels, self.is_multi_label = num_labels, is_multi_label
        self.num_bins = max(2**10, min(2**15, 2**19 // max(num_labels, 1)))
        # How often each label was not gold and had a score in each bin, and how often it was gold: (2, L, bins).
        self.counts = torch.zeros(2 * num_labels * self.num_bins, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, batch: Any) -> None:
        """As of `CalibrationError`."""
        labels, scores = batch.columns["label"], log_odds(outputs.float(), is_multi_label=self.is_multi_label)
        every = torch.arange(self.num_labels, device=labels.device)
        labels = labels if self.is_multi_label else labels[:, None]
        gold = labels if self.is_multi_label else labels == every
        half = self.num_bins // 2
        bins = (scores.asinh() * (half / 16)).floor().nan_to_num(0.0).clamp(-half, half - 1).long() + half  # (B, L)
        cells = (gold.long() * self.num_labels + every) * self.num_bins + bins
        is_counted = (labels != IGNORED).long().expand_as(cells)
        self.counts.index_add_(0, cells.flatten(), is_counted.flatten())

    def compute(self) -> dict[str, float]:
        counts = self.counts.view(2, self.num_labels, self.num_bins).cpu().numpy()
        negative, positive = counts.astype(np.float64)  # (L, bins) each
        num_pairs = negative.sum(axis=1) * positive.sum(axis=1)
        wins = (positive * (negative.cumsum(axis=1) - negative / 2)).sum(axis=1)
        areas = wins[num_pairs > 0] / num_pairs[num_pairs > 0]
        return {"auroc": float(areas.mean()) if len(areas) else 0.0}

    report = compute


# What `metrics` and train.monitor choose from besides the METRICS of decisions. A new one is a class and an entry here.
SCORES: dict[str, type[CalibrationError] | type[AreaUnderCurve]] = {"ece": CalibrationError, "auroc": AreaUnderCurve}


def log_odds(logits: Tensor, *, is_multi_label: bool) -> Tensor:
    """(B, L) logits -> log(p / (1 - p)) of each label's probability, (B, L); exact where p would round to 0 or 1."""
    if is_multi_label:
        return logits
    top = logits.argmax(dim=-1, keepdim=True)
    rest = logits.scatter(1, top, -torch.inf).logsumexp(dim=-1, keepdim=True)  # of all but the most probable label
    whole = torch.logaddexp(rest, logits.gather(1, top))
    others = whole + torch.log1p(-(logits - whole).exp())  # of all but each label, whose p is 1/2 at most
    return logits - others.scatter(1, top, rest)
