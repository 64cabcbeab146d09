"""Multi-head self-attention over the real tokens of a batch (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762).

B: texts, T: tokens of the longest, N: real tokens of all texts, H: hidden size, A: heads, D = H / A: size of a head.

Everything in an encoder but the attention itself works on (N, H): padding costs nothing, since it is not there. Attention comes in
two kinds: `attention_with_dropout` is the formula, on padded texts; `packed_attention` needs no padding, on CUDA in 16 bits.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.layers.dropout import draws_in_bulk, keep_mask, keep_scale
from graphs.layers.head_layout import HeadLayout, from_heads, to_heads
from graphs.layers.positions import rotated

CACHED = 1 << 20  # attention weights made at a time: 4 MB stay in the processor's cache from the scores to the product
MAX_PACKED_HEAD = 192  # the kernel has no backward pass for larger heads on devices of capability 8.6, 8.9 and 12


class RealTokens(NamedTuple):
    """Where the real tokens of a padded batch are.

    mask (B, T): True at real tokens; token_index (N,): their places in the flattened batch; offsets (B + 1,) int32: text i is
    tokens offsets[i] to offsets[i + 1] of N; heads: where each head's rows go in a padded product, None where nothing is padded.
    """

    mask: Tensor
    token_index: Tensor
    offsets: Tensor
    heads: HeadLayout | None = None

    @classmethod
    def of(cls, attention_mask: Tensor, token_index: Tensor | None = None) -> "RealTokens":
        """The layout of a mask (B, T). token_index (N,): made on the host with the batch, as to find it here makes a GPU wait.

        Raises ValueError for a text without a real token, which has no state to take; not looked for where token_index is given.
        """
        lengths = attention_mask.sum(dim=1)  # (B,)
        if token_index is None:
            if not lengths.all():
                raise ValueError(
                    f"text {int(lengths.argmin())} of the batch has no real token; its attention_mask is all False"
                )
            token_index = attention_mask.flatten().nonzero().squeeze(1)
        return cls(attention_mask, token_index, functional.pad(lengths.cumsum(dim=0), (1, 0)).int())

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

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float = 0.0, per_head: bool = False) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
        self.num_heads, self.head_size, self.dropout = num_heads, hidden_size // num_heads, dropout
        self.per_head = per_head  # see attention_with_dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, hidden: Tensor, tokens: RealTokens, rotation: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(N, H) -> (N, H), or (B, H) with first_only: what the first token of each text has seen.

        tokens: as `lay_out` gives them; rotation (N, D): the angles of rotary positions.
        """
        qkv = self.project(hidden, rotation)
        dropout = self.dropout if self.training else 0.0
        context = (
            packed_attention(qkv, tokens, first_only)
            if tokens.heads is None
            else padded_attention(qkv, tokens, tokens.heads, dropout, first_only, self.per_head)
        )
        return self.output(context.flatten(1))  # (N, A, D) -> (N, H), or (B, ...)

    def project(self, hidden: Tensor, rotation: Tensor | None) -> Tensor:
        """(N, H) -> queries, keys and values (N, 3, A, D)."""
        qkv = self.qkv(hidden).unflatten(1, (3, self.num_heads, self.head_size))
        return qkv if rotation is None else rotated(qkv, rotation)


def lay_out(tokens: RealTokens, hidden: Tensor, num_heads: int, dropout: float) -> RealTokens:
    """The tokens of hidden (N, H) with the padded layout of their heads, made once a batch; without it where none is needed.

    dropout: the share of attention weights that is dropped now, 0 in evaluation.
    """
    if fits_packed(hidden, num_heads, dropout):
        return tokens._replace(heads=None)
    return tokens._replace(heads=HeadLayout.of(tokens.mask, tokens.token_index, num_heads))


def fits_packed(hidden: Tensor, num_heads: int, dropout: float) -> bool:
    """Whether the layers of hidden (N, H) can have the kernel without padding (FlashAttention 2).

    It is there for CUDA devices since Ampere, in 16 bits, for head sizes that are multiples of 8 up to 192, without dropout.
    """
    if hidden.device.type != "cuda" or dropout > 0:
        return False
    is_autocast = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda") if is_autocast else hidden.dtype  # of what a linear layer gives
    head_size = hidden.shape[1] // num_heads
    has_size = head_size % 8 == 0 and head_size <= MAX_PACKED_HEAD
    has_dtype = dtype in (torch.float16, torch.bfloat16)
    return has_dtype and has_size and torch.cuda.get_device_capability(hidden.device) >= (8, 0)


def padded_attention(
    qkv: Tensor,
    tokens: RealTokens,
    heads: HeadLayout,
    dropout: float,
    first_only: bool = False,
    per_head: bool = False,
) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), with padding inside this call alone; first_only: (B, A, D) of the first tokens."""
    num_heads, (num_texts, length) = qkv.shape[2], tokens.mask.shape
    query, key, value = to_heads(qkv, heads, length).unflatten(1, (num_texts, num_heads))  # each (B, A, T, D)
    mask = tokens.mask[:, None, None, :] if tokens.has_padding else None  # (B, 1, 1, T): the same keys for every query
    if first_only:  # padding stands behind a text
        return attention_with_dropout(query[:, :, :1], key, value, mask, dropout, per_head).squeeze(2)
    context = attention_with_dropout(query, key, value, mask, dropout, per_head)  # (B, A, T, D)
    return from_heads(context.flatten(0, 1), heads, num_heads)


def attention_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, per_head: bool = False
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) whose weights are dropped with probability p.

    query (B, A, Q, D); key, value (B, A, T, D); mask (B, 1, 1, T), True at keys that may be seen, or None -> (B, A, Q, D).
    torch's own function is fast on a CPU only where p is 0. Here all heads of a text share one mask unless per_head: a key is
    hidden from a query in all of them or in none. That takes a twelfth of the random numbers of a BERT, but the noise of the
    heads no longer averages out. Either way takes half the time of torch's own. On other devices each head has its own mask.
    """
    if p == 0 or not draws_in_bulk(query):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
    size = max(1, CACHED // (query.shape[1] * query.shape[2] * key.shape[2]))  # texts at a time
    if size >= len(query):
        return _softmax_attention(query, key, value, mask, p, per_head)
    masks = [None] * -(-len(query) // size) if mask is None else mask.split(size)
    parts = zip(query.split(size), key.split(size), value.split(size), masks, strict=True)
    return torch.cat([_softmax_attention(*part, p, per_head) for part in parts])


def _softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, per_head: bool
) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, with dropout between the two products; the scores are added to the mask, to be written once.

    What is kept is scaled after the second product: in 16 bits a scale on the weights would be rounded the same way every time.
    """
    texts, heads, num_queries, head_size = query.shape
    query, key, value = (x.reshape(texts * heads, -1, head_size) for x in (query, key, value))
    bias = key_bias(mask, heads, query.dtype) if mask is not None else query.new_zeros(())
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=head_size**-0.5)  # (B * A, Q, T)
    keep = keep_mask(torch.Size((texts, heads if per_head else 1, num_queries, key.shape[1])), p, query.dtype)
    weights = scores.softmax(dim=-1).unflatten(0, (texts, heads)) * keep  # (B, A, Q, T)
    return torch.bmm(weights.flatten(0, 1), value).unflatten(0, (texts, heads)) * keep_scale(p)


def key_bias(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """(B, 1, 1, T) -> (B * A, 1, T): 0 for keys that may be seen, as good as minus infinity for the others."""
    bias = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    return bias.expand(-1, heads, -1, -1).flatten(0, 1)


def packed_attention(qkv: Tensor, tokens: RealTokens, first_only: bool = False) -> Tensor:
    """(N, 3, A, D) -> (N, A, D), by the lengths of the texts alone (FlashAttention 2: Dao 2023); first_only: (B, A, D)."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = qkv.unbind(1)  # each (N, A, D)
    ends, longest = tokens.offsets, tokens.mask.shape[1]
    if first_only:
        query, ends = query.index_select(0, ends[:-1]), torch.arange(len(ends), dtype=ends.dtype, device=ends.device)
    context = varlen_attn(query, key, value, ends, tokens.offsets, 1 if first_only else longest, longest)
    assert isinstance(context, Tensor)  # a tuple only where return_aux is given
    return context


def attention_weights(padded: Tensor, attention_mask: Tensor) -> Tensor:
    """qkv (B, T, 3, A, D) -> the weights (B, A, T, T) of each query's keys, for inspection; queries at padding have none."""
    query, key, _ = padded.permute(2, 0, 3, 1, 4)  # each (B, A, T, D)
    scores = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5  # (B, A, T, T)
    weights = scores.masked_fill(~attention_mask[:, None, None, :], -torch.inf).softmax(dim=-1)
    return weights * attention_mask[:, None, :, None]
