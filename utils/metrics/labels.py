"""Exact metrics from integer counts on the device: summable, resumable, divided once at the end.

L: labels, B: texts. A label of -100 is not counted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.metrics.label_counts import MAX_LABELS, METRICS, Counts, f1_scores, ratio

IGNORED = -100
MAX_MATRIX = 1000  # labels; a matrix of more is 8 MB in every checkpoint, and millions of numbers in the report


class ConfusionMatrix:
    """Gold label by predicted label: the `names` out of METRICS, and precision, recall and F1 of every label.

    Macro F1 is the mean over the labels that are gold or predicted somewhere, as in scikit-learn's f1_score.

    Of more than MAX_MATRIX labels, only how often each was gold, predicted, and both is counted: all but the matrix follows.
    """

    scalars = ("accuracy", "macro_f1")

    def __init__(
        self, labels: Sequence[str], device: torch.device | None = None, names: Sequence[str] = scalars
    ) -> None:
        if len(labels) > MAX_LABELS:
            raise ValueError(f"{len(labels):,} labels are more than the {MAX_LABELS:,} that can be told apart here")
        self.labels, self.names = list(labels), names
        self.has_matrix = len(labels) <= MAX_MATRIX
        self.num_cells = len(labels) ** 2 if self.has_matrix else 3 * len(labels)
        self.counts = torch.zeros(self.num_cells + 1, dtype=torch.int64, device=device)  # the last: what is not counted

    def update(self, outputs: Tensor, batch: Any) -> None:
        """outputs: logits (B, L); batch.columns["label"]: (B,), -100 where nothing is counted."""
        labels = batch.columns["label"]
        predicted, size = decide(outputs, is_multi_label=False), len(self.labels)
        if self.has_matrix:
            cells = labels * size + predicted
        else:
            both = torch.where(labels == predicted, labels, self.num_cells)
            cells = torch.stack([both, size + labels, 2 * size + predicted])
        cells = torch.where(labels == IGNORED, self.num_cells, cells)  # no boolean indexing: that waits for the device
        self.counts.index_add_(0, cells.flatten(), torch.ones_like(cells.flatten()))

    def matrix(self) -> np.ndarray:
        """(L, L) counts, rows gold."""
        return self.counts[:-1].view(len(self.labels), -1).cpu().numpy()

    def compute(self) -> dict[str, float]:
        correct, gold, predicted = self._columns()
        num_present = int(((gold + predicted) > 0).sum())
        counts = Counts(correct, gold, predicted, int(correct.sum()), int(gold.sum()), num_present)
        return {name: METRICS[name](counts) for name in self.names}

    def report(self) -> dict[str, Any]:
        correct, gold, predicted = self._columns()
        report = self.compute() | {
            "majority_accuracy": ratio(gold.max(initial=0), gold.sum()),  # always answering the most frequent label
            "per_class": per_class(self.labels, correct, gold, predicted),
        }
        if self.has_matrix:
            report["confusion_matrix"] = {"labels": self.labels, "matrix": self.matrix().tolist()}
        return report

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How often each label was right, gold and predicted, (L,) each."""
        if self.has_matrix:
            matrix = self.matrix()
            return np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        correct, gold, predicted = self.counts[:-1].view(3, -1).cpu().numpy()
        return correct, gold, predicted


class MultiLabelCounts:
    """True positives, gold and predicted counts of every label, and texts with exactly the gold labels.

    Macro F1 is the mean over all labels, as in scikit-learn's f1_score of indicator matrices: one that is nowhere counts as 0.
    """

    scalars = ("accuracy", "macro_f1", "micro_f1", "exact_match")

    def __init__(
        self, labels: Sequence[str], device: torch.device | None = None, names: Sequence[str] = scalars
    ) -> None:
        self.labels, self.names = list(labels), names
        self.counts = torch.zeros(3 * len(labels) + 2, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, batch: Any) -> None:
        """outputs: logits (B, L), a label is predicted above 0; batch.columns["label"]: (B, L) of 0 and 1."""
        gold, predicted = batch.columns["label"] > 0.5, decide(outputs, is_multi_label=True)
        columns = torch.stack([gold & predicted, gold, predicted]).sum(dim=1).flatten()  # (3 L,)
        texts = torch.stack([(gold == predicted).all(dim=1).sum(), torch.full_like(columns[0], len(gold))])
        self.counts += torch.cat([columns, texts])

    def compute(self) -> dict[str, float]:
        num_right, num_texts = self.counts[-2:].tolist()
        counts = Counts(*self._columns(), num_right, num_texts, len(self.labels))
        return {name: METRICS[name](counts) for name in self.names}

    def report(self) -> dict[str, Any]:
        return self.compute() | {"per_class": per_class(self.labels, *self._columns())}

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        correct, gold, predicted = self.counts[:-2].view(3, -1).cpu().numpy()
        return correct, gold, predicted


def decide(logits: Tensor, *, is_multi_label: bool) -> Tensor:
    """(B, L) logits -> (B,) the predicted label of each text, the first of equal ones, or (B, L) bool, the labels above 0.

    Metrics and predictions alike decide here, by logits: probabilities in float32 can be equal where logits are not.
    """
    return logits > 0 if is_multi_label else logits.argmax(dim=-1)


def per_class(labels: Sequence[str], correct: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """{label: precision, recall, f1, support}."""
    precision, recall, f1 = f1_scores(correct, gold, predicted)
    columns = zip(labels, precision.tolist(), recall.tolist(), f1.tolist(), gold.tolist(), strict=True)
    return {label: {"precision": p, "recall": r, "f1": f, "support": n} for label, p, r, f, n in columns}
