"""The feed-forward layer of a Transformer. H: hidden size; ...: (N,) packed tokens or (B, T) padded ones."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from graphs.layers.linear import Linear

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "geglu"]


class FeedForwardLayer(nn.Module):
    """Two linear maps, applied to each token; with GEGLU a third one gates the input of the second (Shazeer 2020, eq. 6)."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.up = Linear(hidden_size, (2 if activation == "geglu" else 1) * intermediate_size)
        self.down = Linear(intermediate_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., H) -> (..., H)."""
        inner = self.up(hidden)  # (..., intermediate size), twice that with GEGLU
        if self.activation == "geglu":
            value, gate = inner.chunk(2, dim=-1)
            inner = value * functional.gelu(gate)
        else:
            inner = activate(inner, self.activation)
        return self.down(inner)


def activate(inner: Tensor, activation: Activation) -> Tensor:
    """The activation function by name; of geglu its GELU."""
    if activation in ("relu", "silu"):
        found: Tensor = getattr(functional, activation)(inner)
        return found
    return functional.gelu(inner, approximate="tanh" if activation == "gelu_tanh" else "none")
