"""From packed tokens to padded attention heads, and back: one pass over memory each way.

Padding, transposing (B, T, A, D) to (B, A, T, D) and a copy for the batched product are three passes, and three for the gradients.
Here each row of D values is gathered directly, and so is its gradient: the result is bit-identical, and attention on a CPU takes a
quarter less time.

B: texts, T: tokens of the longest, N: real tokens of all texts, A: attention heads, D: head size.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class HeadLayout(NamedTuple):
    """Index maps between the rows of N packed tokens and padded heads, computed once per batch for all layers.

    P: parts, 3 for queries, keys and values. places (P * B * A * T,): the row of (N * P * A, D) at each padded position, at padding
    the first token's; origins (N * P * A,): the padded position of each row; context (N * A,): the position among (B * A * T) of
    each row of the attention's output.
    """

    places: Tensor
    origins: Tensor
    context: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, token_index: Tensor, num_heads: int, num_parts: int = 3) -> "HeadLayout":
        """The layout of a mask (B, T), whose real tokens are at token_index (N,) of the flattened batch."""
        (texts, length), device = attention_mask.shape, attention_mask.device
        heads, parts = torch.arange(num_heads, device=device), torch.arange(num_parts, device=device)
        tokens = torch.zeros(texts * length, dtype=torch.int64, device=device)
        tokens[token_index] = torch.arange(len(token_index), device=device)  # padding holds the first token, masked
        rows = tokens.view(1, texts, 1, length) * num_parts + parts[:, None, None, None]
        places = rows * num_heads + heads[:, None]  # (P, B, A, T)
        context = (token_index // length)[:, None] * num_heads + heads  # (N, A)
        context = context * length + (token_index % length)[:, None]
        origins = parts[:, None] * (texts * num_heads * length) + context[:, None]  # (N, P, A)
        return cls(places.flatten(), origins.flatten(), context.flatten())


def to_heads(parts: Tensor, layout: HeadLayout, length: int) -> Tensor:
    """(N, P, A, D) -> (P, B * A, T, D): queries, keys and values, each contiguous; padding holds another token's."""
    padded: Tensor = _ToHeads.apply(parts.flatten(0, 2), layout.places, layout.origins)
    return padded.view(parts.shape[1], -1, length, parts.shape[-1])


def from_heads(context: Tensor, layout: HeadLayout, num_heads: int) -> Tensor:
    """(B * A, T, D) -> (N, A, D), the real tokens."""
    rows = context.flatten(0, 1).index_select(0, layout.context)
    return rows.view(-1, num_heads, context.shape[-1])


class _ToHeads(torch.autograd.Function):
    """Gather rows into their padded positions. Padding has no gradient: its keys are masked and its queries stripped."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, origins: Tensor) -> Tensor:
        ctx.save_for_backward(origins)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (origins,) = ctx.saved_tensors
        return gradient.index_select(0, origins), None, None
