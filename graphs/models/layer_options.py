"""The options that all layers of a Transformer share, of an encoder and of a decoder."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from graphs.layers.feed_forward import Activation
from graphs.layers.option_checks import check_probabilities, check_sizes

Norm = Literal["pre", "post"]


@dataclass(frozen=True)
class LayerOptions:
    """Options of a layer, by the names of the config (graphs/models/transformer.py). Raises ValueError for impossible ones."""

    hidden_size: int
    num_heads: int
    intermediate_size: int
    norm: Norm
    activation: Activation
    dropout: float
    attention_dropout: float
    norm_eps: float
    dropout_per_head: bool = False

    def __post_init__(self) -> None:
        sizes = {"num_heads": self.num_heads, "intermediate_size": self.intermediate_size}
        check_sizes(hidden_size=self.hidden_size, **sizes)
        check_probabilities(dropout=self.dropout, attention_dropout=self.attention_dropout)
        if self.norm_eps <= 0:
            raise ValueError(f"norm_eps must be positive, got {self.norm_eps}")

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def is_pre_norm(self) -> bool:
        return self.norm == "pre"

    def check_positions(self, positions: str) -> None:
        """Raise ValueError for rotary positions, which turn pairs of dimensions, and heads of an odd size."""
        if positions == "rotary" and self.head_size % 2:
            raise ValueError(f"positions: rotary: hidden_size / num_heads must be even, got {self.head_size}")

    def build_norm(self) -> nn.LayerNorm:
        """A layer norm of hidden states."""
        return nn.LayerNorm(self.hidden_size, eps=self.norm_eps)
