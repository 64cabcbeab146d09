"""Multi-head self-attention over the real tokens of a batch (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762).

B: texts, T: tokens of the longest, N: real tokens of all texts, H: hidden size, A: heads, D = H / A: size of a head.

Everything in an encoder but the attention itself works on (N, H): padding costs nothing, since it is not there.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.models.dropout import attention_with_dropout
from graphs.models.heads import HeadLayout, from_heads, to_heads


class RealTokens(NamedTuple):
    """Where the real tokens of a padded batch are.

    mask (B, T): True at real tokens; token_index (N,): their places in the flattened batch; offsets (B + 1,) int32: text i is
    tokens offsets[i] to offsets[i + 1] of N; heads: where each head's rows go in a padded product, once known for a batch.
    """

    mask: Tensor
    token_index: Tensor
    offsets: Tensor
    heads: HeadLayout | None = None

    @classmethod
    def of(cls, attention_mask: Tensor, token_index: Tensor | None = None) -> "RealTokens":
        """The layout of a mask (B, T). token_index (N,): made on the host with the batch, as to find it here makes a GPU wait."""
        if token_index is None:
            token_index = attention_mask.flatten().nonzero().squeeze(1)
        ends = attention_mask.sum(dim=1).cumsum(dim=0)  # (B,)
        return cls(attention_mask, token_index, functional.pad(ends, (1, 0)).int())

    @property
    def positions(self) -> Tensor:
        """(N,) the place of each token in its text."""
        return self.token_index % self.mask.shape[1]

    @property
    def has_padding(self) -> bool:
        """Known from the shapes alone, without a look at the device."""
        return len(self.token_index) != self.mask.numel()

    def strip(self, padded: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...), the real tokens."""
        flat = padded.flatten(0, 1)
        return flat.index_select(0, self.token_index) if self.has_padding else flat

    def pad(self, tokens: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), zero at padding."""
        flat = tokens
        if self.has_padding:
            flat = tokens.new_zeros(self.mask.numel(), *tokens.shape[1:]).index_copy(0, self.token_index, tokens)
        return flat.unflatten(0, self.mask.shape)


class SelfAttention(nn.Module):
    """Every token looks at all real tokens of its own text."""

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
        self.num_heads, self.head_size, self.dropout = num_heads, hidden_size // num_heads, dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, hidden: Tensor, tokens: RealTokens, rotation: Tensor | None = None, seen: list[Tensor] | None = None
    ) -> Tensor:
        """(N, H) -> (N, H). rotation (N, D): of rotary positions; seen: gets the weights (B, A, T, T) that the tokens had."""
        qkv = self.qkv(hidden).unflatten(1, (3, self.num_heads, self.head_size))  # (N, 3, A, D)
        if rotation is not None:
            qkv = rotated(qkv, rotation)
        if seen is not None:
            seen.append(attention_weights(tokens.pad(qkv), tokens.mask))
        dropout = self.dropout if self.training else 0.0
        context = packed_attention(qkv, tokens) if fits_packed(qkv, dropout) else padded_attention(qkv, tokens, dropout)
        output: Tensor = self.output(context.flatten(1))  # (N, A, D) -> (N, H)
        return output


def padded_attention(qkv: Tensor, tokens: RealTokens, dropout: float) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), with padding inside this call alone."""
    num_heads, (num_texts, length) = qkv.shape[2], tokens.mask.shape
    layout = tokens.heads or HeadLayout.of(tokens.mask, tokens.token_index, num_heads)
    query, key, value = to_heads(qkv, layout, length).unflatten(1, (num_texts, num_heads))  # each (B, A, T, D)
    mask = tokens.mask[:, None, None, :] if tokens.has_padding else None  # (B, 1, 1, T): the same keys for every query
    context = attention_with_dropout(query, key, value, mask, dropout)  # (B, A, T, D)
    return from_heads(context.flatten(0, 1), layout, num_heads)


def fits_packed(qkv: Tensor, dropout: float) -> bool:
    """Whether the kernel without padding can be had: on CUDA, in 16 bits, without dropout of attention weights."""
    return qkv.is_cuda and dropout == 0 and qkv.dtype in (torch.float16, torch.bfloat16)


def packed_attention(qkv: Tensor, tokens: RealTokens) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), by the lengths of the texts alone (FlashAttention 2: Dao 2023)."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = qkv.unbind(1)  # each (N, A, D)
    longest = tokens.mask.shape[1]
    context = varlen_attn(query, key, value, tokens.offsets, tokens.offsets, longest, longest)
    assert isinstance(context, Tensor)  # a tuple only where return_aux is given
    return context


def attention_weights(padded: Tensor, attention_mask: Tensor) -> Tensor:
    """qkv (B, T, 3, A, D) -> the weights (B, A, T, T) of each query's keys, for inspection; queries at padding have none."""
    query, key, _ = padded.permute(2, 0, 3, 1, 4)  # each (B, A, T, D)
    scores = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5  # (B, A, T, T)
    weights = scores.masked_fill(~attention_mask[:, None, None, :], -torch.inf).softmax(dim=-1)
    return weights * attention_mask[:, None, :, None]


def rotary_angles(positions: Tensor, head_size: int) -> Tensor:
    """(N,) positions -> (N, D) angles: a pair of components turns by position / 10000^(2i / D) (Su et al. 2021, eq. 15)."""
    frequencies = 10000.0 ** (-torch.arange(0, head_size, 2, device=positions.device) / head_size)  # (D / 2,)
    return (positions[:, None] * frequencies).repeat(1, 2)


def rotated(qkv: Tensor, angles: Tensor) -> Tensor:
    """Queries and keys of (N, 3, A, D) turned by angles (N, D), so that their product knows their distance; values as they are.

    Component i is paired with i + D / 2 (Su et al. 2021, eq. 34, pairs neighbours: the same up to a permutation).
    """
    turned, value = qkv[:, :2], qkv[:, 2:]
    first, second = turned.chunk(2, dim=-1)  # each (N, 2, A, D / 2)
    across = torch.cat([-second, first], dim=-1)
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]  # (N, 1, 1, D)
    return torch.cat([(turned * cos + across * sin).to(value.dtype), value], dim=1)
