"""One label a text, or any number of them: what a classifier's logits say. B: texts, L: labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.metrics.labels import ConfusionMatrix, MultiLabelCounts, decide


class SingleLabel:
    """Labels that exclude each other."""

    metrics: type[ConfusionMatrix] | type[MultiLabelCounts] = ConfusionMatrix
    is_multi_label = False

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, L) -> (B, L)."""
        return torch.softmax(logits, dim=-1)

    def log_odds(self, logits: Tensor, number: int) -> Tensor:
        """(B, L) -> (B,): log(p / (1 - p)) of a label's probability."""
        others = torch.cat([logits[:, :number], logits[:, number + 1 :]], dim=-1)
        return logits[:, number] - torch.logsumexp(others, dim=-1)

    def decide(self, logits: Tensor) -> Tensor:
        """(B, L) -> what is predicted: see `utils.metrics.labels.decide`."""
        return decide(logits, is_multi_label=self.is_multi_label)

    def answer(self, labels: Sequence[str], probabilities: np.ndarray, decision: Any) -> dict[str, Any]:
        """The prediction for one text: the label of its row of `decide`, as plain values, and the probability (L,) of each."""
        shares = dict(zip(labels, probabilities.tolist(), strict=True))
        return {"predicted": self.named(labels, decision), "probabilities": shares}

    def named(self, labels: Sequence[str], decision: Any) -> Any:
        """The name of what was decided."""
        return labels[decision]


class MultiLabel(SingleLabel):
    """Any number of labels a text, each decided by itself."""

    metrics = MultiLabelCounts
    is_multi_label = True

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def log_odds(self, logits: Tensor, number: int) -> Tensor:
        return logits[:, number]

    def named(self, labels: Sequence[str], decision: Any) -> list[str]:
        return [label for label, is_chosen in zip(labels, decision, strict=True) if is_chosen]
