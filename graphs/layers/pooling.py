"""Pooling: from a vector per token to one per text. B: texts, T: tokens, H: hidden size. Padding never counts."""

import torch
from torch import Tensor, nn


def masked_mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H) and (B, T) -> (B, H), the mean over real tokens."""
    total = (hidden * attention_mask[:, :, None]).sum(dim=1)
    return total / attention_mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H) and (B, T) -> (B, H), the maximum of each dimension over real tokens."""
    lowest = torch.finfo(hidden.dtype).min
    return hidden.masked_fill(~attention_mask[:, :, None], lowest).amax(dim=1)


class AttentionPooling(nn.Module):
    """Attention pooling: a weighted mean, with weights from a learned query vector (Yang et al. 2016, eq. 5 to 7)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T, H) and (B, T) -> (B, H)."""
        scores = self.query(torch.tanh(self.projection(hidden))).squeeze(-1)  # (B, T)
        weights = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min).softmax(dim=1)
        return (hidden * weights[:, :, None]).sum(dim=1)
