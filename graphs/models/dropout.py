"""Dropout (Srivastava et al. 2014) that costs little on a CPU, and attention with it.

On a CPU torch draws the random numbers of a dropout one by one: most of its cost, and a quarter of a training step. Here they are
drawn as bytes in bulk, 16 bits a value, from torch's own generator, so that whatever saves and restores that one restores this. On
other devices, and where torch.compile makes a kernel of its own, it is torch's dropout.

B: texts, A: heads, T: tokens, D: size of a head.
"""

import math

import torch
from torch import Size, Tensor, nn
from torch.nn import functional

from graphs.models.checks import check_shares

LEVELS = 1 << 16  # a share of values is dropped in steps of 1 / LEVELS; with a byte 0.1 would be 26 / 256
LOWEST = -(1 << 15)
CACHED = 1 << 20  # attention weights made at a time: 4 MB stay in the processor's cache from the scores to the product


class Dropout(nn.Module):
    """In training a share p of the values is zero and the others are scaled, so that the mean is kept; otherwise nothing."""

    def __init__(self, p: float) -> None:
        super().__init__()
        check_shares(p=p)
        self.p = p

    def forward(self, hidden: Tensor) -> Tensor:
        """(...) -> (...)."""
        return dropout(hidden, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout(hidden: Tensor, p: float, training: bool = True) -> Tensor:
    """(...) -> (...), with a share p of the values zero; no random number is drawn where there is nothing to drop."""
    if not training or p == 0:
        return hidden
    if not draws_in_bulk(hidden):
        return functional.dropout(hidden, p)
    return hidden * keep_scales(hidden.shape, p, hidden.dtype)


def draws_in_bulk(hidden: Tensor) -> bool:
    """Whether torch's own dropout is the slower one: on a CPU, where nothing is compiled."""
    return hidden.device.type == "cpu" and not torch.compiler.is_compiling()


def keep_scales(shape: Size, p: float, dtype: torch.dtype) -> Tensor:
    """Random 0 (dropped) or 1 / (share kept), in the given shape and dtype.

    Compared within int16 and converted afterwards: a comparison whose result is bool takes ten times as long.
    """
    num_values = math.prod(shape)
    drawn = torch.empty(-(-num_values // 4), dtype=torch.int64).random_(LOWEST << 48, None)  # 64 random bits each
    num_dropped = min(round(p * LEVELS), LEVELS - 1)
    keep = drawn.view(torch.int16)[:num_values].ge_(LOWEST + num_dropped)  # 0 or 1
    return keep.view(shape).to(dtype).mul_(LEVELS / (LEVELS - num_dropped))


def attention_with_dropout(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) whose weights are dropped with probability p.

    query, key, value (B, A, T, D); mask (B, 1, 1, T), True at keys that may be seen, or None -> (B, A, T, D). Only where p is 0 has
    torch's own function a fast way on a CPU. Here all heads of a text share one draw: a key is hidden from a query in all of them
    or in none, which takes a twelfth of the random numbers of a BERT, and half the time. Elsewhere each head has its own.
    """
    if p == 0 or not draws_in_bulk(query):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
    _, heads, length, _ = query.shape
    size = max(1, CACHED // (heads * length**2))  # texts at a time
    if size >= len(query):
        return _attention_of_some(query, key, value, mask, p)
    masks = [None] * -(-len(query) // size) if mask is None else mask.split(size)
    parts = zip(query.split(size), key.split(size), value.split(size), masks, strict=True)
    return torch.cat([_attention_of_some(*part, p) for part in parts])


def _attention_of_some(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """The mask is what the scores are added to, so that the product writes them once."""
    texts, heads, length, head_size = query.shape
    query, key, value = (x.reshape(texts * heads, length, head_size) for x in (query, key, value))
    bias = key_bias(mask, heads, query.dtype) if mask is not None else query.new_zeros(())
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=head_size**-0.5)  # (B * A, T, T)
    keep = keep_scales(torch.Size((texts, 1, length, length)), p, query.dtype)
    weights = scores.softmax(dim=-1).unflatten(0, (texts, heads)) * keep  # (B, A, T, T)
    return torch.bmm(weights.flatten(0, 1), value).unflatten(0, (texts, heads))


def key_bias(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """(B, 1, 1, T) -> (B * A, 1, T): 0 for keys that may be seen, as good as minus infinity for the others."""
    bias = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    return bias.expand(-1, heads, -1, -1).flatten(0, 1)
