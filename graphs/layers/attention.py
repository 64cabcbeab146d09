"""Scaled dot-product attention and multi-head self-attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

B: texts, Q: queries, K: keys, T: tokens, N: real tokens, H: hidden size, A: attention heads, D = H / A: head size.

`attention` is the formula: for padded texts, any mask, and queries and keys of one sequence or two (self- and cross-attention). The
fast paths in packed_attention.py compute the same, as tests verify.
"""

import torch
from torch import Tensor, nn

from graphs.layers.dropout import dropout
from graphs.layers.packed_attention import packed_attention
from graphs.layers.positions import rotated
from graphs.layers.token_layout import PaddedTokens, TokenLayout


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


def causal_mask(num_queries: int, num_keys: int, device: torch.device | None = None) -> Tensor:
    """(Q, K), True at a query's own position and those before it; the queries are the last of the keys' positions."""
    positions = torch.arange(num_keys, device=device)
    return positions <= positions[num_keys - num_queries :, None]


class SelfAttention(nn.Module):
    """Multi-head self-attention (section 3.2.2): every token attends to all real tokens of its own text."""

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float = 0.0, per_head: bool = False) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
        self.num_heads, self.head_size, self.dropout = num_heads, hidden_size // num_heads, dropout
        self.per_head = per_head  # see attention_with_dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

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
            context = attention(query, key, value, tokens.mask[:, None, None, :], p).transpose(1, 2)  # (B, T, A, D)
            context = tokens.first(context) if first_only else context
        else:
            context = packed_attention(qkv, tokens, p, first_only, self.per_head)  # (N, A, D), or (B, A, D)
        return self.output(context.flatten(-2))

    def project(self, hidden: Tensor, rotation: Tensor | None) -> Tensor:
        """(..., H) -> queries, keys and values (..., 3, A, D)."""
        qkv = self.qkv(hidden).unflatten(-1, (3, self.num_heads, self.head_size))
        return qkv if rotation is None else rotated(qkv, rotation)
