"""Many texts as one flat array of ids and the offsets where each begins: the form in which tokens are made, stored and batched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGE = 2**26  # tokens, beyond which counting them would delay the start


@dataclass(frozen=True)
class Tokens:
    """ids: (total,) int32; offsets: (N + 1,) int64, text i is ids[offsets[i]:offsets[i + 1]]; truncated: (N,)."""

    ids: np.ndarray
    offsets: np.ndarray
    truncated: np.ndarray

    @classmethod
    def from_lengths(cls, ids: np.ndarray, lengths: np.ndarray, truncated: np.ndarray) -> "Tokens":
        """Flat ids and the number of them in each text."""
        return cls(ids, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64), truncated)

    @classmethod
    def concatenate(cls, parts: "Sequence[Tokens]") -> "Tokens":
        """The texts of all parts, in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls.from_lengths(
            np.concatenate([p.ids for p in parts]), lengths, np.concatenate([p.truncated for p in parts])
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each text."""
        return np.diff(self.offsets)

    def text(self, index: int) -> np.ndarray:
        """The ids of one text."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def pad(self, rows: np.ndarray, pad_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Some texts as (input_ids (B, T) int64, attention_mask (B, T) bool), T the longest of them."""
        starts = np.asarray(self.offsets[rows])
        lengths = np.asarray(self.offsets[rows + 1]) - starts
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        positions = np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        padded = np.full(mask.shape, pad_id, dtype=np.int64)
        padded[mask] = self.ids[positions]
        return padded, mask


def num_unknown(fields: Sequence[Tokens], unknown_id: int) -> int:
    """How many texts have no known token in any field; 0 where there are too many tokens to look at."""
    if sum(len(tokens.ids) for tokens in fields) > LARGE:
        return 0
    is_known = np.zeros(len(fields[0]), dtype=bool)
    for tokens in fields if len(is_known) else []:
        is_known |= np.logical_or.reduceat(tokens.ids != unknown_id, tokens.offsets[:-1])  # no text is without a token
    return int((~is_known).sum())
