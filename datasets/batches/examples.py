"""A split as the loop sees it: numbered examples, which become batches.

Examples are stateless: (seed, epoch, row) decides every random thing about one, so that a resumed run, or one on another number of
processes, sees the same ones without an iterator's state.
"""

from typing import Protocol, Self

import numpy as np
import torch

EVALUATION = -1  # the "epoch" of every evaluation: the same masks each time


class Batch(Protocol):
    """Some examples, padded, on the host until `to`; a frozen dataclass.

    rows (B,): their row numbers in the split; num_tokens: their real tokens; is_filler: whether it only keeps this process in step
    with the others, and so is counted nowhere.
    """

    @property
    def rows(self) -> np.ndarray: ...
    @property
    def num_tokens(self) -> int: ...
    @property
    def is_filler(self) -> bool: ...

    def to(self, device: torch.device) -> Self:
        """The batch on the device that computes."""
        ...


class Examples(Protocol):
    """One split."""

    def __len__(self) -> int: ...

    def lengths(self, epoch: int) -> np.ndarray:
        """(N,) the tokens of each row, padding within it included."""
        ...

    def collate(self, rows: np.ndarray, epoch: int, step: int = 0) -> Batch:
        """The rows (B,) as one batch; the same arguments give the same batch. step: how many updates came before it."""
        ...
