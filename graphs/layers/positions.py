"""Positional encodings: sinusoids to add to the embeddings, or angles by which to rotate queries and keys (RoPE).

...: (N,) packed tokens or (B, T) padded ones; A: attention heads, D: head size.
"""

import torch
from torch import Tensor


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """(...) positions -> (..., size): sines in the even dimensions, cosines in the odd ones (Vaswani et al. 2017, section 3.5)."""
    angles = rotary_angles(positions, 2 * ((size + 1) // 2))[..., : (size + 1) // 2]  # (..., size / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :size]


def rotary_angles(positions: Tensor, head_size: int) -> Tensor:
    """(...) positions -> (..., D) angles: pair i rotates by position / 10000^(2i / D) (Su et al. 2021, eq. 15)."""
    frequencies = 10000.0 ** (-torch.arange(0, head_size, 2, device=positions.device) / head_size)  # (D / 2,)
    angles = positions[..., None] * frequencies
    return torch.cat([angles, angles], dim=-1)


def rotated(qkv: Tensor, angles: Tensor) -> Tensor:
    """Queries and keys of (..., 3, A, D) rotated by angles (..., D): their product depends on their distance. Values are unchanged.

    Component i is paired with i + D / 2 (Su et al. 2021, eq. 34, pairs neighbours: the same up to a permutation).
    """
    query_key, value = qkv.split([2, 1], dim=-3)
    first, second = query_key.chunk(2, dim=-1)  # each (..., 2, A, D / 2)
    across = torch.cat([-second, first], dim=-1)
    cos, sin = angles.cos()[..., None, None, :], angles.sin()[..., None, None, :]  # (..., 1, 1, D)
    return torch.cat([(query_key * cos + across * sin).to(value.dtype), value], dim=-3)
