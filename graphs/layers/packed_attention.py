"""Fast paths of attention over packed tokens: the results of attention.py at lower cost.

B: texts, Q: queries, T: tokens of the longest text, N: real tokens of all texts, H: hidden size, A: heads, D = H / A: head size.
In cross-attention T and N are those of the targets, and S and M those of the sources.

On CUDA in 16 bits a kernel works on the packed tokens directly; elsewhere they are padded for the batched products only. On a
CPU attention dropout has its own implementation, as it keeps torch's scaled_dot_product_attention off its fast path.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from graphs.layers.dropout import draws_in_bulk, keep_mask, keep_scale
from graphs.layers.head_layout import HeadLayout, from_heads, to_heads
from graphs.layers.token_layout import PackedTokens, PaddedTokens, TokenLayout, causal_mask

CACHED = (
    1 << 20
)  # attention weights computed at a time: 4 MB stay in the processor's cache from the scores to the product
MAX_PACKED_HEAD = 192  # the kernel has no backward pass for larger heads on devices of capability 8.6, 8.9 and 12


class CrossLayout(NamedTuple):
    """Where the heads of cross-attention go in a padded product: of the queries (P = 1), and of the keys and values (P = 2)."""

    queries: HeadLayout
    sources: HeadLayout

    @classmethod
    def of(cls, targets: PackedTokens, sources: PackedTokens, num_heads: int) -> "CrossLayout":
        queries = HeadLayout.of(targets.mask, targets.token_index, num_heads, 1)
        return cls(queries, HeadLayout.of(sources.mask, sources.token_index, num_heads, 2))


def packed_attention(
    qkv: Tensor,
    tokens: PackedTokens,
    p: float,
    first_only: bool = False,
    per_head: bool = False,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Self-attention of qkv (N, 3, A, D), with tokens from `lay_out` -> (N, A, D); first_only: (B, A, D) of the first tokens.

    is_causal: each token attends to itself and to those before it.
    """
    if tokens.heads is None:
        return varlen_attention(qkv, tokens, first_only, is_causal=is_causal)
    return batched_attention(qkv, tokens, tokens.heads, p, first_only, per_head, is_causal=is_causal)


def packed_cross_attention(
    query: Tensor,
    key_value: Tensor,
    targets: PackedTokens,
    sources: PackedTokens,
    layout: CrossLayout | None,
    p: float,
) -> Tensor:
    """query (N, 1, A, D) of target tokens, key_value (M, 2, A, D) of source tokens -> (N, A, D); layout: None for the kernel."""
    if layout is None:
        from torch.nn.attention.varlen import varlen_attn

        key, value = key_value.unbind(1)  # each (M, A, D)
        longest = (targets.mask.shape[1], sources.mask.shape[1])
        context = varlen_attn(query[:, 0], key, value, targets.offsets, sources.offsets, longest[0], longest[1])
        assert isinstance(context, Tensor)
        return context
    length, size = targets.mask.shape[1], (len(targets.mask), query.shape[2])
    (queries,) = to_heads(query, layout.queries, length).unflatten(1, size)  # (B, A, T, D)
    keys, values = to_heads(key_value, layout.sources, sources.mask.shape[1]).unflatten(1, size)  # each (B, A, S, D)
    mask = sources.mask[:, None, None, :] if sources.has_padding else None
    context = attention_with_dropout(queries, keys, values, mask, p)
    return from_heads(context.flatten(0, 1), layout.queries, query.shape[2])


def lay_out(tokens: TokenLayout, hidden: Tensor, num_heads: int, p: float) -> TokenLayout:
    """The tokens of hidden (N, H), with the padded layout of their heads if attention with dropout p needs it; once per batch."""
    if isinstance(tokens, PaddedTokens) or fits_kernel(hidden, num_heads, p):
        return tokens
    return tokens._replace(heads=HeadLayout.of(tokens.mask, tokens.token_index, num_heads))


def fits_kernel(hidden: Tensor, num_heads: int, p: float) -> bool:
    """Whether the kernel without padding (FlashAttention 2) supports the layers of hidden (N, H).

    It does on CUDA devices since Ampere, in 16 bits, for head sizes that are multiples of 8 up to 192, without dropout.
    """
    if hidden.device.type != "cuda" or p > 0:
        return False
    is_autocast = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda") if is_autocast else hidden.dtype  # of a linear layer's output
    head_size = hidden.shape[1] // num_heads
    has_size = head_size % 8 == 0 and head_size <= MAX_PACKED_HEAD
    has_dtype = dtype in (torch.float16, torch.bfloat16)
    return has_dtype and has_size and torch.cuda.get_device_capability(hidden.device) >= (8, 0)


def varlen_attention(qkv: Tensor, tokens: PackedTokens, first_only: bool, *, is_causal: bool = False) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), by the offsets of the texts (FlashAttention 2: Dao 2023); first_only: (B, A, D)."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = qkv.unbind(1)  # each (N, A, D)
    ends, longest = tokens.offsets, tokens.mask.shape[1]
    if first_only:
        query, ends = query.index_select(0, ends[:-1]), torch.arange(len(ends), dtype=ends.dtype, device=ends.device)
    window = (-1, 0) if is_causal else (-1, -1)  # how many tokens before and after, -1 for all
    num_queries = 1 if first_only else longest
    context = varlen_attn(query, key, value, ends, tokens.offsets, num_queries, longest, window_size=window)
    assert isinstance(context, Tensor)  # a tuple only where return_aux is given
    return context


def batched_attention(
    qkv: Tensor,
    tokens: PackedTokens,
    heads: HeadLayout,
    p: float,
    first_only: bool,
    per_head: bool,
    *,
    is_causal: bool = False,
) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), padded only inside this call; first_only: (B, A, D)."""
    num_heads, (num_texts, length) = qkv.shape[2], tokens.mask.shape
    query, key, value = to_heads(qkv, heads, length).unflatten(1, (num_texts, num_heads))  # each (B, A, T, D)
    mask: Tensor | None = None
    if is_causal:  # (1, 1, T, T), the same for every text: padding follows it, so that no real token attends to padding
        mask = causal_mask(length, length, qkv.device)[None, None]
    elif tokens.has_padding:  # (B, 1, 1, T), the same for every query
        mask = tokens.mask[:, None, None, :]
    if first_only:  # padding follows the text
        return attention_with_dropout(query[:, :, :1], key, value, mask, p, per_head).squeeze(2)
    context = attention_with_dropout(query, key, value, mask, p, per_head)  # (B, A, T, D)
    return from_heads(context.flatten(0, 1), heads, num_heads)


def attention_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, per_head: bool = False
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) with attention dropout of probability p.

    query (B, A, Q, D); key, value (B, A, T, D); mask (B, 1, 1, T) or (1, 1, Q, T), True at keys that may be attended to, or None
    -> (B, A, Q, D).
    torch's own function is fast on a CPU only where p is 0, and there in float32: in bfloat16 forward and backward take three times
    as long as the products here (32 texts of 128 tokens, 4 heads).

    All heads of a text share one dropout mask unless per_head: a key is dropped for a query in all heads or in none. That takes a
    twelfth of the random numbers for BERT, but the noise of the heads no longer averages out. Either way takes half the time of
    torch's own. On other devices each head has its own mask.
    """
    is_slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad
    if not (is_slow if p == 0 else draws_in_bulk(query)):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
    size = max(1, CACHED // (query.shape[1] * query.shape[2] * key.shape[2]))  # texts at a time
    if size >= len(query):
        return _softmax_attention(query, key, value, mask, p, per_head)
    masks = [mask] * -(-len(query) // size) if mask is None or len(mask) == 1 else mask.split(size)
    parts = zip(query.split(size), key.split(size), value.split(size), masks, strict=True)
    return torch.cat([_softmax_attention(*part, p, per_head) for part in parts])


def _softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, per_head: bool
) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, with dropout between the two products; scores and mask are added in one pass over memory.

    The kept weights are scaled after the second product: in 16 bits a scale on them would be rounded the same way every time.
    """
    texts, heads, num_queries, head_size = query.shape
    query, key, value = (x.reshape(texts * heads, -1, head_size) for x in (query, key, value))
    bias = query.new_zeros(())
    if (
        mask is not None
    ):  # (B * A, 1, T) or (1, Q, T): 0 for keys that may be attended to, the lowest number for the others
        bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, torch.finfo(query.dtype).min)
        bias = bias.expand(-1, heads, -1, -1).flatten(0, 1) if len(mask) > 1 else bias[0]
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=head_size**-0.5)  # (B * A, Q, T)
    if p == 0:
        return torch.bmm(scores.softmax(dim=-1), value).unflatten(0, (texts, heads))
    keep = keep_mask(torch.Size((texts, heads if per_head else 1, num_queries, key.shape[1])), p, query.dtype)
    weights = scores.softmax(dim=-1).unflatten(0, (texts, heads)) * keep  # (B, A, Q, T)
    return torch.bmm(weights.flatten(0, 1), value).unflatten(0, (texts, heads)) * keep_scale(p)
