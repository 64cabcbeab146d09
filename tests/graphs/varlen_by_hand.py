"""What the kernel without padding computes, text by text."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional


def plain_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Tensor,
    keys: Tensor,
    *longest: int,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """What varlen_attn says it does, text by text."""
    assert window_size in [(-1, -1), (-1, 0)]
    is_causal = window_size == (-1, 0)
    parts: list[list[Tensor]] = []  # (A, length, D) of each text
    for tensors, starts, most in zip(((query,), (key, value)), (queries, keys), longest, strict=True):
        assert starts.dtype == torch.int32
        assert (starts[0], starts[-1]) == (0, len(tensors[0]))
        lengths = starts.diff().tolist()
        assert max(lengths) == most
        parts += ([part.transpose(0, 1) for part in tensor.split(lengths)] for tensor in tensors)
    attend = partial(functional.scaled_dot_product_attention, is_causal=is_causal)
    return torch.cat([attend(q, k, v).transpose(0, 1) for q, k, v in zip(*parts, strict=True)])
