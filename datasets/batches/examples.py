"""Interface of a split to the training loop: indexed examples that are collated into batches.

Examples are stateless: all randomness is a function of (seed, epoch, row), so that a resumed run, or one on another number of
ranks, sees the same examples without restoring an iterator.
"""

from typing import Protocol, Self

import numpy as np
import torch

EVALUATION = -1  # the "epoch" of every evaluation: the same masks each time


class Batch(Protocol):
    """Padded batch of examples, on the host until `to`; a frozen dataclass.

    rows (B,): their row indices in the split; num_tokens: number of real tokens; is_filler: a dummy batch that keeps ranks in
    step, excluded from loss and metrics.
    """

    @property
    def rows(self) -> np.ndarray: ...
    @property
    def num_tokens(self) -> int: ...
    @property
    def is_filler(self) -> bool: ...

    def to(self, device: torch.device) -> Self:
        """The batch on the device."""
        ...


class Examples(Protocol):
    """One split."""

    def __len__(self) -> int: ...

    def lengths(self, epoch: int) -> np.ndarray:
        """(N,) padded length of each row: its tokens, or for a text in windows all windows, the last one padded."""
        ...

    def collate(self, rows: np.ndarray, epoch: int, step: int = 0) -> Batch:
        """Collate the rows (B,) into one batch; the same arguments give the same batch. step: number of updates before it."""
        ...
