"""Focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 4): easy texts count less. B: texts, L: labels."""

import torch
from torch import Tensor
from torch.nn import functional

from graphs.losses.cross_entropy import IGNORED, CrossEntropy


class Focal(CrossEntropy):
    """Cross-entropy times (1 - p) ** gamma, p the probability of the gold label; gamma 0 is cross-entropy.

    gamma: the larger, the less do texts count that the model is sure of and right about
    """

    def __init__(self, labels: list[str], *, gamma: float = 2.0, class_weights: dict[str, float] | None = None) -> None:
        super().__init__(labels, class_weights=class_weights)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, L), labels (B,) with -100 where nothing is counted -> the sum over counted labels, ()."""
        log_probabilities = functional.log_softmax(logits, dim=-1)
        weight = self.weight
        loss = functional.nll_loss(log_probabilities, labels, weight=weight, ignore_index=IGNORED, reduction="none")
        gold = log_probabilities.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)  # (B,)
        return (loss * (1 - torch.exp(gold)).clamp(min=0) ** self.gamma).sum()
