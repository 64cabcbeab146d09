"""Batches of a split: which examples, in which order, and on which rank."""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from datasets.batches.examples import EVALUATION, Batch, Examples
from datasets.batches.order import epoch_batches, ordered_batches, shares


class Loader:
    """Batches of one split: shuffled by (seed, epoch) for training, longest first for evaluation.

    Each rank gets about the same number of tokens, and exactly the same number of batches: a filler if no examples are left.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        batch_tokens: int | None = None,
        accumulation_steps: int = 1,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        shortened: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """shortened: {epoch: the steps after which it ends, although examples are left}."""
        self.examples = examples
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        self.accumulation_steps, self.seed = accumulation_steps, seed
        self.rank, self.num_ranks, self.shortened = rank, num_ranks, shortened

    def __len__(self) -> int:
        """Number of examples in the split."""
        return len(self.examples)

    def num_steps(self, epoch: int = 0) -> int:
        """Optimizer steps in an epoch; with batch_tokens it varies slightly between epochs."""
        if self.batch_tokens is not None:
            return len(self.batches(epoch))
        num_steps = -(-len(self.examples.lengths(epoch)) // self.batch_size)
        return min(num_steps, self.shortened.get(epoch, num_steps))

    def total_steps(self, num_epochs: int, num_steps: int | None) -> int:
        """Length of a run in optimizer steps: num_steps, or else those of its epochs."""
        return num_steps or sum(self.num_steps(epoch) for epoch in range(num_epochs))

    def train_batches(self, epoch: int, start: int = 0, step: int = 0) -> Iterator[list[Batch]]:
        """Global batches from index `start` on, this rank's part of each split into micro-batches for gradient accumulation.

        step: number of updates before the first of them.
        """
        lengths = self.examples.lengths(epoch)
        for now, rows in enumerate(self.batches(epoch)[start:], start=step):
            yield self.micro_batches(rows, lengths, epoch, now)

    def micro_batches(self, rows: np.ndarray, lengths: np.ndarray, epoch: int, step: int) -> list[Batch]:
        """The part of a global batch that is this rank's, cut; lengths (N,): of all examples."""
        num_parts = min(self.accumulation_steps, -(-len(rows) // self.num_ranks))
        own = shares(rows, lengths, self.num_ranks)[self.rank]
        return [self._collate(part, rows, epoch, step) for part in np.array_split(own, num_parts)]

    def eval_batches(self) -> Iterator[Batch]:
        """Every example once, on one of the ranks."""
        lengths = self.examples.lengths(EVALUATION)
        batches = ordered_batches(lengths, batch_size=self.batch_size, batch_tokens=self.batch_tokens)
        for start in range(0, len(batches), self.num_ranks):
            own = batches[start + self.rank : start + self.rank + 1]
            yield self._collate(own[0] if own else batches[start][:0], batches[start], EVALUATION)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The rows of each global batch of an epoch."""
        sizes: dict[str, Any] = {"batch_size": self.batch_size, "batch_tokens": self.batch_tokens}
        batches = epoch_batches(self.examples.lengths(epoch), **sizes, seed=self.seed, epoch=epoch)
        return batches[: self.shortened.get(epoch)]

    def _collate(self, rows: np.ndarray, others: np.ndarray, epoch: int, step: int = 0) -> Batch:
        """Collate the rows; without any, the last of `others` as a filler."""
        if len(rows):
            return self.examples.collate(rows, epoch, step)
        return dataclasses.replace(self.examples.collate(others[-1:], epoch, step), is_filler=True)  # type: ignore[type-var]
