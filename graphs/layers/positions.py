"""Where a token stands in its text, as numbers: sines and cosines to be added, or angles by which queries and keys are turned.

N: real tokens of all texts, A: heads, D: size of a head.
"""

import torch
from torch import Tensor


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """(N,) positions -> (N, size): sines in the even places, cosines in the odd ones (Vaswani et al. 2017, section 3.5)."""
    angles = rotary_angles(positions, 2 * ((size + 1) // 2))[:, : (size + 1) // 2]  # (N, size / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]


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
