"""Whether two texts mean the same, by the angle between their vectors. B: pairs, H: size of a vector."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity


class CosineHead(nn.Module):
    """Logits of two labels from the cosine of two vectors: scale * (cosine - threshold), both learned.

    Each vector is made without the other text, so those of many texts can be kept and compared (Reimers and Gurevych 2019,
    Sentence-BERT, https://arxiv.org/abs/1908.10084). The logit of a cosine with a learned scale and bias is that of Zhai et al.
    2023 (https://arxiv.org/abs/2303.15343), equation 1.

    scale: initial factor of the cosine, at least 0.01
    threshold: initial cosine above which a pair counts as the same
    speed: learning-rate multiplier for scale and threshold; above 1 in fine-tuning, where the rate is too low for them
    positive: label of the pairs that mean the same; null: the last one in alphabetical order
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        scale: float = 10.0,
        threshold: float = 0.5,
        speed: float = 1.0,
        positive: str | None = None,
    ) -> None:
        super().__init__()
        if scale < 0.01:
            raise ValueError(f"scale must be at least 0.01, got {scale}")
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold must be a cosine, -1 to 1, got {threshold}")
        if speed <= 0:
            raise ValueError(f"speed must be positive, got {speed}")
        self.speed = speed
        # Adam moves a parameter by about the rate a step, whatever its gradient: a factor in front of it moves further. Of one
        # dimension, as FSDP shards no scalars.
        self.log_scale = nn.Parameter(torch.tensor([math.log(scale) / speed]))
        self.threshold = nn.Parameter(torch.tensor([threshold / speed]))
        self.same = labels.index(positive) if positive in labels else len(labels) - 1

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, 2 H) the vectors of both texts -> logits (B, 2)."""
        first, second = vectors.chunk(2, dim=-1)  # (B, H) each
        scale, threshold = (self.speed * self.log_scale).exp(), self.speed * self.threshold
        logit = scale * (cosine_similarity(first, second) - threshold)  # (B,)
        other = torch.zeros_like(logit)
        return torch.stack([logit, other] if self.same == 0 else [other, logit], dim=-1)
