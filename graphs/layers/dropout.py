"""Dropout (Srivastava et al. 2014) that is cheap on a CPU.

On a CPU torch draws the random numbers of dropout one by one: most of its cost, and a quarter of a training step. Here they are
drawn in bulk, 16 bits per value, from torch's own generator, so that saving and restoring that generator covers them. On other
devices, and where torch.compile generates a kernel, it is torch's dropout.
"""

import math

import torch
from torch import Size, Tensor, nn
from torch.nn import functional

from graphs.layers.option_checks import check_probabilities

LEVELS = 1 << 16  # resolution of the dropout probability; with 8 bits 0.1 would be 26 / 256
LOWEST = -(1 << 15)


class Dropout(nn.Module):
    """In training, zero each value with probability p and scale the others by 1 / (1 - p); in evaluation, the identity."""

    def __init__(self, p: float) -> None:
        super().__init__()
        check_probabilities(p=p)
        self.p = p

    def forward(self, hidden: Tensor) -> Tensor:
        """(...) -> (...)."""
        return dropout(hidden, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout(hidden: Tensor, p: float, training: bool = True) -> Tensor:
    """(...) -> (...), each value zero with probability p; no random number is drawn where nothing is dropped."""
    if not training or p == 0:
        return hidden
    if not draws_in_bulk(hidden):
        return functional.dropout(hidden, p)
    wide = torch.promote_types(hidden.dtype, torch.float32)  # 1 / 0.9 rounded to bfloat16 would be 0.16% too small
    return (hidden * keep_mask(hidden.shape, p, wide).mul_(keep_scale(p))).to(hidden.dtype)


def draws_in_bulk(hidden: Tensor) -> bool:
    """Whether torch's own dropout is slower: on a CPU, in eager mode."""
    return hidden.device.type == "cpu" and not torch.compiler.is_compiling()


def keep_mask(shape: Size, p: float, dtype: torch.dtype) -> Tensor:
    """Random 0 (dropped, with probability p) or 1, in the given shape and dtype.

    Compared as int16 and converted afterwards: a comparison that returns bool takes ten times as long.
    """
    num_values = math.prod(shape)
    drawn = torch.empty(-(-num_values // 4), dtype=torch.int64).random_(LOWEST << 48, None)  # 64 random bits each
    return drawn.view(torch.int16)[:num_values].ge_(LOWEST + _num_dropped(p)).view(shape).to(dtype)


def keep_scale(p: float) -> float:
    """1 / (1 - p), by which kept values are multiplied."""
    return LEVELS / (LEVELS - _num_dropped(p))


def _num_dropped(p: float) -> int:
    return min(round(p * LEVELS), LEVELS - 1)
