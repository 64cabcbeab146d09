"""Tokenised texts as one flat array of ids and their offsets: the format in which tokens are made, stored and batched."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.errors import StorageError

LARGE = 2**26  # tokens; counting more would delay the start


@dataclass(frozen=True)
class Tokens:
    """ids: (total,) int32; offsets: (N + 1,) int64, text i is ids[offsets[i]:offsets[i + 1]]; truncated: (N,).

    window: if given, each text is stored as consecutive windows of this size, the last of which may be shorter;
    second_starts: (N,) int32, for pairs: the position in each at which the second text begins.
    """

    ids: np.ndarray
    offsets: np.ndarray
    truncated: np.ndarray
    window: int | None = None
    second_starts: np.ndarray | None = None

    @classmethod
    def from_lengths(cls, ids: np.ndarray, lengths: np.ndarray, truncated: np.ndarray) -> "Tokens":
        """From flat ids and the length of each text."""
        return cls(ids, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64), truncated)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(N,) number of tokens of each text."""
        return np.diff(self.offsets)

    @property
    def padded_lengths(self) -> np.ndarray:
        """(N,) padded length of each text in a batch of its own: its tokens, or its windows, the last one padded."""
        lengths = self.lengths
        if self.window is None:
            return lengths
        return np.where(lengths <= self.window, lengths, _num_windows(lengths, self.window) * self.window)

    def text(self, index: int) -> np.ndarray:
        """The ids of one text."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def select(self, rows: np.ndarray) -> "Tokens":
        """The texts of these rows, in this order."""
        starts, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        parts = [self.ids[start:end] for start, end in zip(starts, ends, strict=True)]
        ids = np.concatenate(parts) if parts else self.ids[:0]
        return Tokens.from_lengths(ids, self.lengths[rows], self.truncated[rows])

    def cut(self, max_length: int | np.ndarray) -> "Tokens":
        """Truncate texts to max_length tokens, one limit or one per text, and mark those that were longer."""
        lengths = self.lengths
        if (lengths <= max_length).all():
            return self
        places = np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], lengths)  # of each token in its text
        ids = self.ids[places < (max_length if isinstance(max_length, int) else np.repeat(max_length, lengths))]
        return Tokens.from_lengths(ids, np.minimum(lengths, max_length), self.truncated | (lengths > max_length))

    def num_windows(self, rows: np.ndarray) -> np.ndarray:
        """(B,) int64, the number of windows of each text; 1 if texts are not windowed."""
        if self.window is None:
            return np.ones(len(rows), dtype=np.int64)
        return _num_windows(self.offsets[rows + 1] - self.offsets[rows], self.window)

    def pad(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pad texts, or their windows, to (input_ids (B, T) int64, attention_mask (B, T) bool), T the longest of them."""
        refuse_cut(self.ids)
        ids, offsets = np.asarray(self.ids), self.offsets  # slicing a memmap takes 10 times as long as slicing an array
        starts, ends = offsets[rows], offsets[rows + 1]
        if self.window is not None:
            starts, ends = _windows(starts, ends, self.window)
        lengths = ends - starts
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        places = zip(padded, starts.tolist(), ends.tolist(), strict=True)
        for row, start, end in places:  # faster than one gather of all
            row[: end - start] = ids[start:end]
        return padded, mask


def joined(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts, which are of one kind and no pairs."""
    ids, lengths, truncated = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "lengths", "truncated")
    )
    return replace(Tokens.from_lengths(ids, lengths, truncated), window=parts[0].window)


def refuse_cut(ids: np.ndarray) -> None:
    """Raise StorageError if the file behind memory-mapped ids was truncated: reading past its end kills the process silently."""
    if isinstance(ids, np.memmap):
        with contextlib.suppress(OSError):  # a removed file stays readable
            if Path(str(ids.filename)).stat().st_size < ids.nbytes:
                raise StorageError(
                    f"{ids.filename}: was truncated while in use; run the same command to rebuild it and resume"
                )


def _num_windows(lengths: np.ndarray, window: int) -> np.ndarray:
    return np.asarray(-(-lengths // window))


def _windows(starts: np.ndarray, ends: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each window of the texts from `starts` to `ends`, in order."""
    counts = _num_windows(ends - starts, window)
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of each window in its text
    window_starts = np.repeat(starts, counts) + window * places
    return window_starts, np.minimum(window_starts + window, np.repeat(ends, counts))


def num_unknown(fields: Sequence[Tokens], unknown_ids: Sequence[int]) -> int:
    """Number of texts with only these ids (unknown and special tokens) in all fields; 0 if there are too many tokens to count."""
    if sum(len(tokens.ids) for tokens in fields) > LARGE:
        return 0
    is_known = np.zeros(len(fields[0]), dtype=bool)
    for tokens in fields if len(is_known) else []:
        is_token = tokens.ids != unknown_ids[0]
        for id in unknown_ids[1:]:
            is_token &= tokens.ids != id
        is_known |= np.logical_or.reduceat(is_token, tokens.offsets[:-1])  # no text is empty
    return int((~is_known).sum())


def unknown_share(fields: Sequence[Tokens], unknown_id: int, special_ids: Sequence[int]) -> float:
    """Fraction of tokens that are unknown, special ones not counted; 0 if there are too many tokens to count."""
    num_tokens = sum(len(tokens.ids) for tokens in fields)
    if not 0 < num_tokens <= LARGE:
        return 0.0
    num_special = sum(int(np.isin(tokens.ids, list(special_ids)).sum()) for tokens in fields) if special_ids else 0
    num_unknown = sum(int((tokens.ids == unknown_id).sum()) for tokens in fields)
    return num_unknown / max(num_tokens - num_special, 1)
