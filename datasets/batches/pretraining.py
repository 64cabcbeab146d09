"""Sequences with masked tokens: what a masked language model learns from.

B: sequences, T: tokens of the longest, N: real tokens, M: masked tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from datasets.batches.examples import EVALUATION
from datasets.batches.masking import Masked, Masking, MaskShare, noise_of
from datasets.batches.segments import PackedSequences, Pairs, PairSequences, pack, pair_up
from datasets.batches.text_batch import moved_batch
from datasets.hashing import draw
from datasets.tokenizers.tokens import refuse_cut

EVALUATION_SHARE = 0.15  # every recipe is measured on the same task


@dataclass(frozen=True)
class PretrainingBatch:
    """Sequences with masked tokens.

    input_ids (B, T) int64, attention_mask (B, T) bool, token_type_ids (B, T); places (M,): of the masked tokens in the B * T, and
    packed_places (M,) in the real tokens alone; token_index (N,): the places of those; ids (M,): what was masked;
    pair_labels (B,): 0 where the second segment follows the first, 1 where not, None without pairs.
    rows, num_tokens, is_filler: see datasets/batches/examples.py
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    token_index: Tensor
    places: Tensor
    packed_places: Tensor
    ids: Tensor
    pair_labels: Tensor | None
    rows: np.ndarray
    num_tokens: int
    is_filler: bool = False

    def to(self, device: torch.device) -> Self:
        """The batch on the device that computes."""
        return moved_batch(self, device)


def batch_of(sequences: Sequence[Sequence[int]], places: Sequence[int], mask_id: int) -> PretrainingBatch:
    """Sequences with special tokens, of each of which the token at one place is masked."""
    lengths = np.array([len(ids) for ids in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate(sequences)
    is_masked = np.arange(mask.shape[1]) == np.array(places)[:, None]
    masked = Masked(np.where(is_masked, mask_id, ids), is_masked)
    return _batch(ids, masked, mask, np.zeros_like(ids), None, np.arange(len(ids)))


def _batch(
    ids: np.ndarray, masked: Masked, mask: np.ndarray, types: np.ndarray, labels: np.ndarray | None, rows: np.ndarray
) -> PretrainingBatch:
    """ids, mask, types: (B, T); labels: (B,) of pairs."""
    flat, is_real = np.flatnonzero(masked.is_masked), mask.ravel()
    return PretrainingBatch(
        input_ids=torch.from_numpy(masked.input_ids),
        attention_mask=torch.from_numpy(mask),
        token_type_ids=torch.from_numpy(types),
        token_index=torch.from_numpy(np.flatnonzero(is_real)),
        places=torch.from_numpy(flat),
        packed_places=torch.from_numpy((np.cumsum(is_real) - 1)[flat]),
        ids=torch.from_numpy(ids.ravel()[flat]),
        pair_labels=None if labels is None else torch.from_numpy(labels),
        rows=rows,
        num_tokens=int(is_real.sum()),
    )


@dataclass(frozen=True)
class Sequences:
    """What shapes the sequences besides the documents. first_length: their length before the epoch `long_from`."""

    pairs: Pairs
    max_length: int
    first_length: int
    long_from: int
    short: float
    dupe_factor: int | None


@dataclass(frozen=True)
class PretrainingExamples:
    """A split of documents as sequences with masked tokens; (seed, epoch, row) decides what is masked."""

    tokens: Any  # DocumentTokens
    sequences: Sequences
    masking: Masking
    evaluation: Masking
    share: MaskShare
    special: tuple[int, int, int]  # the ids of [CLS], [SEP] and padding
    seed: int
    total_steps: int = 1
    even_turns: int | None = None  # in so many epochs each token is masked once
    max_rows: int | None = None  # of an evaluation
    _layouts: dict[int, PackedSequences | PairSequences] = field(init=False, default_factory=dict)

    def __len__(self) -> int:
        """Sequences of an evaluation."""
        return len(self.lengths(EVALUATION))

    def layout(self, epoch: int) -> PackedSequences | PairSequences:
        """The sequences of an epoch; the last two layouts are kept."""
        if epoch not in self._layouts:
            while len(self._layouts) > 1:
                self._layouts.pop(next(iter(self._layouts)))
            self._layouts[epoch] = self._laid_out(epoch)
        return self._layouts[epoch]

    def _laid_out(self, epoch: int) -> PackedSequences | PairSequences:
        size, drawn = self._max_length(epoch), self._drawn(epoch)
        if self.sequences.pairs == "none":
            return pack(self.tokens.bounds, size - 1, self.seed, drawn)
        places, short = (self.tokens.sentences, self.tokens.documents), self.sequences.short
        return pair_up(*places, self.sequences.pairs, size, short, self.seed, drawn)

    def _max_length(self, epoch: int) -> int:
        is_first = EVALUATION < epoch < self.sequences.long_from
        return self.sequences.first_length if is_first else self.sequences.max_length

    def _drawn(self, epoch: int) -> int:
        """The epoch whose random numbers are used: with static masks they come again after dupe_factor epochs."""
        factor = self.sequences.dupe_factor
        return epoch if factor is None or epoch == EVALUATION else epoch % factor

    def lengths(self, epoch: int) -> np.ndarray:
        """(N,) tokens of each sequence."""
        layout = self.layout(epoch)
        lengths: np.ndarray = layout.lengths + (1 if isinstance(layout, PackedSequences) else 0)
        return lengths[: self.max_rows]

    @property
    def truncated(self) -> np.ndarray:
        """(N,) nothing: what does not fit into one sequence is in the next."""
        return np.zeros(len(self), dtype=bool)

    def collate(self, rows: np.ndarray, epoch: int, step: int = 0) -> PretrainingBatch:
        """The sequences of these rows (B,), with some of their tokens masked."""
        layout = self.layout(epoch)
        where, mask, types = _packed(layout, rows) if isinstance(layout, PackedSequences) else _paired(layout, rows)
        refuse_cut(self.tokens.ids)
        cls, sep, pad = self.special
        ids = np.where(where >= 0, self.tokens.ids[np.maximum(where, 0)], sep).astype(np.int64)
        ids[:, 0] = cls
        ids[~mask] = pad
        masked = self._masked(ids, (where >= 0) & mask & self.masking.is_plain[ids], where, rows, epoch, step)
        labels = layout.label[rows] if isinstance(layout, PairSequences) else None
        return _batch(ids, masked, mask, types, labels, rows)

    def _masked(
        self, ids: np.ndarray, maskable: np.ndarray, where: np.ndarray, rows: np.ndarray, epoch: int, step: int
    ) -> Masked:
        """The ids with some of them masked; where (B, T): their places in the split."""
        if epoch == EVALUATION:
            return self.evaluation.apply(
                ids, maskable, noise_of(self.seed, epoch, rows, ids.shape[1]), EVALUATION_SHARE
            )
        drawn = self._drawn(epoch)
        if self.even_turns is not None:
            cycle, turn = divmod(drawn, self.even_turns)
            noise = draw(self.seed, cycle, where.ravel()).reshape(where.shape)
            return self.masking.apply_evenly(ids, maskable, noise, turn, self.even_turns)
        share = self.share.at(step, self.total_steps)
        return self.masking.apply(ids, maskable, noise_of(self.seed, drawn, rows, ids.shape[1]), share)


def _packed(layout: PackedSequences, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B,) rows -> (B, T): the place of each token in the ids, -1 for a special one; which are real; their segments."""
    places, is_there = layout.places(rows)
    longest = int(is_there.sum(axis=1).max())
    front = np.full((len(rows), 1), -1)
    places = np.concatenate([front, places[:, :longest]], axis=1)
    return places, np.concatenate([front < 0, is_there[:, :longest]], axis=1), np.zeros_like(places)


def _paired(layout: PairSequences, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_packed`: [CLS] A [SEP] B [SEP]."""
    a, b = layout.a[rows], layout.b[rows]
    lengths = layout.lengths[rows]
    place = np.arange(int(lengths.max()))[None]
    second = (2 + a[:, 1] - a[:, 0])[:, None]  # where B begins
    in_a, in_b = (place >= 1) & (place < second - 1), (place >= second) & (place < lengths[:, None] - 1)
    where = np.where(in_a, a[:, :1] + place - 1, np.where(in_b, b[:, :1] + place - second, -1))
    mask = place < lengths[:, None]
    return where, mask, ((place >= second) & mask).astype(np.int64)
