"""Encoders of the fields, their vectors joined, and a feed-forward head: written once for every encoder.

B: texts, L: labels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Linear layers with ReLU and dropout between them; without hidden sizes a single linear layer."""

    def __init__(self, input_size: int, num_labels: int, *, hidden_sizes: list[int] = (), dropout: float = 0.0) -> None:  # type: ignore[assignment]
        super().__init__()
        if any(size < 1 for size in hidden_sizes):
            raise ValueError(f"hidden_sizes must each be at least 1, got {list(hidden_sizes)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += [nn.Linear(input_size, size), nn.ReLU(), nn.Dropout(dropout)]
            input_size = size
        self.layers: nn.Sequential = nn.Sequential(*layers, nn.Linear(input_size, num_labels))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, input_size) -> logits (B, L)."""
        logits: Tensor = self.layers(hidden)
        return logits


class TextClassifier(nn.Module):
    """One encoder a field, the vectors joined, and a head."""

    def __init__(self, encoders: Sequence[nn.Module], head: FeedForward) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head: FeedForward = head

    def forward(self, fields: Sequence[dict[str, Tensor]]) -> Tensor:
        """For each field input_ids and attention_mask (B, T) -> logits (B, L)."""
        vectors = [encoder(**field) for encoder, field in zip(self.encoders, fields, strict=True)]
        logits: Tensor = self.head(torch.cat(vectors, dim=-1))  # (B, sum of output sizes) -> (B, L)
        return logits
