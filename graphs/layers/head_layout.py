"""From packed tokens to padded attention heads, and back: one pass over memory each way.

Padding, transposing (B, T, A, D) to (B, A, T, D) and a copy for the batched product are three passes, and three for the gradients.
Here each row of D values is gathered from where it is, and its gradient likewise: the same bits, and attention on a CPU takes a
quarter less time.

B: texts, T: tokens of the longest, N: real tokens of all texts, A: attention heads, D: head size.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class HeadLayout(NamedTuple):
    """Where the rows of N tokens lie among the padded ones; made once a batch, for all layers.

    places (3 * B * A * T,): which row of (N * 3 * A, D) each place holds, at padding that of the first token; origins (N * 3 * A,):
    the place of each row; context (N * A,): the place among (B * A * T) of each row of the attention's output.
    """

    places: Tensor
    origins: Tensor
    context: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, token_index: Tensor, num_heads: int) -> "HeadLayout":
        """The layout of a mask (B, T), whose real tokens are at token_index (N,) of the flattened batch."""
        (texts, length), device = attention_mask.shape, attention_mask.device
        heads, parts = torch.arange(num_heads, device=device), torch.arange(3, device=device)
        tokens = torch.zeros(texts * length, dtype=torch.int64, device=device)
        tokens[token_index] = torch.arange(len(token_index), device=device)  # padding holds the first token, masked
        rows = tokens.view(1, texts, 1, length) * 3 + parts[:, None, None, None]
        places = rows * num_heads + heads[:, None]  # (3, B, A, T)
        context = (token_index // length)[:, None] * num_heads + heads  # (N, A)
        context = context * length + (token_index % length)[:, None]
        origins = parts[:, None] * (texts * num_heads * length) + context[:, None]  # (N, 3, A)
        return cls(places.flatten(), origins.flatten(), context.flatten())


def to_heads(qkv: Tensor, layout: HeadLayout, length: int) -> Tensor:
    """(N, 3, A, D) -> (3, B * A, T, D): queries, keys and values, each one block; another token's at padding."""
    padded: Tensor = _ToHeads.apply(qkv.flatten(0, 2), layout.places, layout.origins)
    return padded.view(3, -1, length, qkv.shape[-1])


def from_heads(context: Tensor, layout: HeadLayout, num_heads: int) -> Tensor:
    """(B * A, T, D) -> (N, A, D), the real tokens."""
    rows = context.flatten(0, 1).index_select(0, layout.context)
    return rows.view(-1, num_heads, context.shape[-1])


class _ToHeads(torch.autograd.Function):
    """Gather rows by their places. Padding has no gradient: its keys are masked and its queries stripped."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, origins: Tensor) -> Tensor:
        ctx.save_for_backward(origins)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (origins,) = ctx.saved_tensors
        return gradient.index_select(0, origins), None, None
