"""A text classifier over any encoder: one encoder per field, or one for all, their vectors concatenated, and a head.

B: texts, L: labels, W: windows of all texts, H: output size of an encoder.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphs.layers.option_checks import check_probabilities


class FeedForward(nn.Module):
    """Linear layers with ReLU and dropout in between; without hidden sizes a single linear layer.

    hidden_sizes: dimension of each hidden layer, such as [100, 50]
    dropout: dropout probability of the hidden layers; model.dropout is that of a text's vector
    """

    def __init__(self, input_size: int, num_labels: int, *, hidden_sizes: list[int] = (), dropout: float = 0.0) -> None:  # type: ignore[assignment]
        super().__init__()
        if any(size < 1 for size in hidden_sizes):
            raise ValueError(f"hidden_sizes must each be at least 1, got {list(hidden_sizes)}")
        check_probabilities(dropout=dropout)
        if dropout and not hidden_sizes:
            raise ValueError(
                "dropout needs hidden_sizes, after which it is applied; write 0, and use model.dropout for a text's vector"
            )
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += [nn.Linear(input_size, size), nn.ReLU(), nn.Dropout(dropout)]
            input_size = size
        self.layers: nn.Sequential = nn.Sequential(*layers, nn.Linear(input_size, num_labels))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, input_size) -> logits (B, L)."""
        return self.layers(hidden)


class TextClassifier(nn.Module):
    """One encoder per field, or a single one for all (siamese), their vectors concatenated, and a head."""

    def __init__(self, encoders: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head
        if draw := getattr(encoders[0], "draw_head", None):
            head.apply(draw)
        self._inputs = [list(inspect.signature(encoder.forward).parameters) for encoder in encoders]

    def by_field(self, num_fields: int) -> list[nn.Module]:
        """The encoder of each field."""
        return [*self.encoders] * (num_fields if len(self.encoders) == 1 else 1)

    def forward(self, fields: Sequence[dict[str, Tensor]]) -> Tensor:
        """For each field input_ids and attention_mask (B, T), and the other tensors of a batch -> logits (B, L).

        An encoder is given the tensors that its `forward` has parameters for. With text_index (W,) and num_windows (B,) the
        rows of a field are windows, and a text's vector is the mean of its windows' vectors.
        """
        vectors = []
        times = len(fields) if len(self.encoders) == 1 else 1
        for encoder, names, field in zip(self.by_field(len(fields)), self._inputs * times, fields, strict=True):
            encoded = encoder(**{name: field[name] for name in names if name in field})  # (B, H), or (W, H)
            vectors.append(mean_of_windows(encoded, field) if "text_index" in field else encoded)
        logits: Tensor = self.head(torch.cat(vectors, dim=-1))  # (B, sum of output sizes) -> (B, L)
        return logits


def mean_of_windows(encoded: Tensor, field: dict[str, Tensor]) -> Tensor:
    """(W, H) vectors of windows -> (B, H), the mean of each text's; the number of texts comes from a shape, not from the device."""
    num_windows = field["num_windows"]
    total = encoded.new_zeros(num_windows.shape[0], encoded.shape[1]).index_add(0, field["text_index"], encoded)
    return total / num_windows[:, None]
