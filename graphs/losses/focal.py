"""Focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 4): down-weights easy texts. B: texts, L: labels."""

import torch
from torch import Tensor
from torch.nn import functional

from graphs.losses.cross_entropy import CrossEntropy


class Focal(CrossEntropy):
    """Cross-entropy times (1 - p) ** gamma, p the probability of the gold label; gamma 0 is cross-entropy.

    gamma: focusing parameter: larger values down-weight well-classified texts
    """

    def __init__(self, labels: list[str], *, gamma: float = 2.0, class_weights: dict[str, float] | None = None) -> None:
        super().__init__(labels, class_weights=class_weights)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, L), labels (B,) with -100 for ignored texts -> the sum over counted labels, ()."""
        gold = labels.clamp(min=0)[:, None]  # (B, 1)
        others = logits.scatter(1, gold, torch.finfo(logits.dtype).min).logsumexp(dim=-1)
        margin = logits.gather(1, gold).squeeze(1) - others  # (B,): p = sigmoid(margin), 1 - p = sigmoid(-margin)
        # In logarithms, since (1 - p) ** gamma has an infinite gradient where p rounds to 1 and gamma is below 1.
        modulation = torch.exp(self.gamma * functional.logsigmoid(-margin))
        return self.weigh(-functional.logsigmoid(margin) * modulation, labels)
