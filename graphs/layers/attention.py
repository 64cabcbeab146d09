"""Scaled dot-product attention, multi-head self- and cross-attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

B: texts, Q: queries, K: keys, T: tokens, N: real tokens, H: hidden size, A: attention heads, D = H / A: head size.
In cross-attention T and N are those of targets, S and M those of sources; K is also: rows of a text that are generated together.

`attention` is the formula: for padded texts, any mask, and queries and keys of one sequence or two (self- and cross-attention). The
fast paths in packed_attention.py compute the same, as tests verify.
"""

import torch
from torch import Tensor, nn

from graphs.layers.dropout import dropout
from graphs.layers.linear import Linear
from graphs.layers.packed_attention import CrossLayout, packed_attention, packed_cross_attention
from graphs.layers.past_tokens import PastTokens
from graphs.layers.positions import rotated
from graphs.layers.token_layout import PaddedTokens, TokenLayout, causal_mask


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, p: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V (Vaswani et al. 2017, eq. 1), with attention dropout of probability p.

    query (B, A, Q, D); key, value (B, A, K, D); mask: see `attention_weights` -> (B, A, Q, D).
    """
    return dropout(attention_weights(query, key, mask), p) @ value


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(D)): query (B, A, Q, D), key (B, A, K, D) -> (B, A, Q, K), rows that sum to 1.

    mask: broadcasts to (B, A, Q, K), True where the query may attend to the key: a padding mask (B, K) as mask[:, None, None, :],
    a `causal_mask`, or both combined by `&`. Where every key is masked the weights are uniform.
    """
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5  # (B, A, Q, K)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention (section 3.2.2): every token attends to all real tokens of its own text, or, if it is causal, to
    itself and those before it."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        per_head: bool = False,
        is_causal: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_size, self.dropout = num_heads, head_size(hidden_size, num_heads), dropout
        self.per_head = per_head  # see attention_with_dropout
        self.is_causal = is_causal
        self.qkv = Linear(hidden_size, 3 * hidden_size)
        self.output = Linear(hidden_size, hidden_size)

    def forward(
        self, hidden: Tensor, tokens: TokenLayout, rotation: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(..., H) -> (..., H), or (B, H) with first_only: the output for the first token of each text.

        tokens: packed ones as `lay_out` returns them; rotation (..., D): the angles of rotary positions.
        """
        qkv = self.project(hidden, rotation)
        p = self.dropout if self.training else 0.0
        if isinstance(tokens, PaddedTokens):
            query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, A, T, D)
            mask = tokens.mask[:, None, None, :]
            if self.is_causal:
                mask = mask & causal_mask(query.shape[2], key.shape[2], key.device)
            context = attention(query, key, value, mask, p).transpose(1, 2)  # (B, T, A, D)
            context = tokens.first(context) if first_only else context
        else:
            options = (p, first_only, self.per_head)
            context = packed_attention(qkv, tokens, *options, is_causal=self.is_causal)  # (N, A, D), or (B, A, D)
        return self.output(context.flatten(-2))

    def step(self, hidden: Tensor, past: PastTokens, mask: Tensor | None, rotation: Tensor | None = None) -> Tensor:
        """(B, K, H) of the newest token of each row -> (B, K, H); mask (B, K, t): which tokens of the past are the row's own."""
        query, key, value = self.project(hidden, rotation).permute(2, 0, 3, 1, 4)  # each (B, A, K, D)
        keys, values = past.add(key, value)  # each (B, A, t, D)
        context = attention(query, keys, values, None if mask is None else mask[:, None])
        return self.output(context.transpose(1, 2).flatten(-2))

    def project(self, hidden: Tensor, rotation: Tensor | None) -> Tensor:
        """(..., H) -> queries, keys and values (..., 3, A, D)."""
        qkv = self.qkv(hidden).unflatten(-1, (3, self.num_heads, self.head_size))
        return qkv if rotation is None else rotated(qkv, rotation)


class CrossAttention(nn.Module):
    """Multi-head attention of target tokens to the source tokens of their own text (section 3.2.3)."""

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.head_size, self.dropout = num_heads, head_size(hidden_size, num_heads), dropout
        self.query = Linear(hidden_size, hidden_size)
        self.key_value = Linear(hidden_size, 2 * hidden_size)
        self.output = Linear(hidden_size, hidden_size)

    def forward(
        self, hidden: Tensor, tokens: TokenLayout, memory: Tensor, sources: TokenLayout, layout: CrossLayout | None
    ) -> Tensor:
        """hidden (N, H) and memory (M, H), both packed -> (N, H); or (B, T, H) and (B, S, H), both padded -> (B, T, H)."""
        p = self.dropout if self.training else 0.0
        if isinstance(tokens, PaddedTokens) or isinstance(sources, PaddedTokens):
            return self.attend(hidden, self.keys_values(memory), sources.mask, p)
        query = self.query(hidden).unflatten(-1, (1, self.num_heads, self.head_size))  # (N, 1, A, D)
        key_value = self.key_value(memory).unflatten(-1, (2, self.num_heads, self.head_size))  # (M, 2, A, D)
        context = packed_cross_attention(query, key_value, tokens, sources, layout, p)  # (N, A, D)
        return self.output(context.flatten(-2))

    def keys_values(self, memory: Tensor) -> Tensor:
        """(B, S, H) -> (2, B, A, S, D)."""
        return self.key_value(memory).unflatten(-1, (2, self.num_heads, self.head_size)).permute(2, 0, 3, 1, 4)

    def attend(self, hidden: Tensor, keys_values: Tensor, source_mask: Tensor, p: float = 0.0) -> Tensor:
        """hidden (B, T, H), keys_values (2, B, A, S, D), source_mask (B, S) -> (B, T, H)."""
        query = self.queries(hidden)  # (B, A, T, D)
        key, value = keys_values
        context = attention(query, key, value, source_mask[:, None, None, :], p)
        return self.output(context.transpose(1, 2).flatten(-2))

    def queries(self, hidden: Tensor) -> Tensor:
        """(B, T, H) -> (B, A, T, D)."""
        return self.query(hidden).unflatten(-1, (self.num_heads, self.head_size)).transpose(1, 2)


def head_size(hidden_size: int, num_heads: int) -> int:
    """The dimension of one head. Raises ValueError where the heads do not divide the hidden size."""
    if hidden_size % num_heads:
        raise ValueError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
    return hidden_size // num_heads
