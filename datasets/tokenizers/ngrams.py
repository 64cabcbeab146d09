"""Word n-grams as ids of a compact table of those that are frequent enough in the training texts.

A hash table of millions of rows (Joulin et al. 2016) doubles the time of a step and gains nothing on data of this size. The code of
an n-gram is the index of its first n - 1 words in the table of that order (for a bigram, the first word's id), times the number
of words, plus the last word's id. An n-gram is at most as frequent as its first n - 1 words, so they always have an index.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from datasets.tokenizers.tokens import Tokens

WORTH_A_SORT = 4_000_000  # n-grams: 32 MB
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # of multiplicative hashing: 2**64 divided by the golden ratio
LOAD = 4  # slots for each code, at least
FIRST_WORD = 2  # lower ids are padding and unknown, which are in no n-gram


class NgramTable:
    """The n-grams of order 2 to `order`; `codes[n - 2]` holds the sorted codes of those of order n."""

    def __init__(self, order: int, min_count: int) -> None:
        self.order, self.min_count = order, min_count
        self.codes: list[np.ndarray] = [np.zeros(0, dtype=np.int64) for _ in range(order - 1)]
        self._indexes: dict[int, CodeIndex] = {}  # by order, of the codes as they are now

    @property
    def size(self) -> int:
        """Number of n-grams of all orders."""
        return sum(map(len, self.codes))

    def fit(self, parts: Iterable[Tokens], num_words: int, level: int) -> None:
        """Fill the table of one order (2 first) from the words of the training texts."""
        codes, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        for found in _gathered(self._occurrences(tokens, num_words, level)[1] for tokens in parts):
            codes, counts = _merged(codes, counts, *np.unique(found, return_counts=True))
        self.codes[level - 2] = codes[counts >= self.min_count]

    def extend(self, tokens: Tokens, num_words: int) -> Tokens:
        """The words of each text, then its bigrams, trigrams, ... that are in the table, with ids from num_words on."""
        if self.size == 0:
            return tokens
        texts, ids = [np.repeat(np.arange(len(tokens)), tokens.lengths)], [tokens.ids]
        first_id = num_words
        for level in range(2, self.order + 1):
            positions, codes = self._occurrences(tokens, num_words, level)
            index, is_known = self._find(level, codes)
            texts.append(texts[0][positions[is_known]])
            ids.append((first_id + index[is_known]).astype(np.int32))
            first_id += len(self.codes[level - 2])
        order = np.argsort(np.concatenate(texts), kind="stable")  # concatenated sorted runs: cheap
        lengths = sum(np.bincount(text, minlength=len(tokens)) for text in texts)
        return Tokens.from_lengths(np.concatenate(ids)[order], np.asarray(lengths), tokens.truncated)

    def words(self, index: int, num_words: int) -> list[int]:
        """The word ids of the n-gram with this index."""
        level = 0
        while index >= len(self.codes[level]):
            index -= len(self.codes[level])
            level += 1
        prefix, last = divmod(int(self.codes[level][index]), num_words)
        return [prefix, last] if level == 0 else [*self.words(self._start(level - 1) + prefix, num_words), last]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"order": self.order, "codes": [codes.tolist() for codes in self.codes]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "NgramTable":
        """The table that `to_json` described."""
        if values["order"] != len(values["codes"]) + 1:
            raise ValueError("not the n-grams of one tokenizer")
        table = cls(values["order"], 1)
        table.codes = [np.array(codes, dtype=np.int64) for codes in values["codes"]]
        return table

    def _find(self, level: int, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(index in the table of an order, whether it is present) of each code."""
        index = self._indexes.get(level)
        if index is None or index.codes is not self.codes[level - 2]:
            index = self._indexes[level] = CodeIndex(self.codes[level - 2])
        return index.find(codes)

    def _start(self, level: int) -> int:
        return sum(map(len, self.codes[:level]))

    def _occurrences(self, tokens: Tokens, num_words: int, level: int) -> tuple[np.ndarray, np.ndarray]:
        """(position of the first word, code) of every n-gram of one order whose first words are known."""
        ids = tokens.ids.astype(np.int64)
        goes_on = ids >= FIRST_WORD  # whether a word can follow another
        positions = np.flatnonzero(goes_on)
        prefix = ids[positions]
        goes_on[tokens.offsets[:-1]] = False
        for n in range(2, level + 1):
            is_inside = positions + n - 1 < len(ids)
            positions, prefix = positions[is_inside], prefix[is_inside]
            is_ngram = goes_on[positions + n - 1]
            positions = positions[is_ngram]
            codes = prefix[is_ngram] * num_words + ids[positions + n - 1]
            if n == level:
                return positions, codes
            index, is_known = self._find(n, codes)
            positions, prefix = positions[is_known], index[is_known].astype(np.int64)
        raise ValueError(f"level must be at least 2, got {level}")


def _gathered(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Concatenate arrays until they are worth a sort."""
    waiting: list[np.ndarray] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) > WORTH_A_SORT:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _merged(
    codes: np.ndarray, counts: np.ndarray, new_codes: np.ndarray, new_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two sorted lists of codes, and add up their counts."""
    if len(codes) == 0:
        return new_codes, new_counts
    merged = np.unique(np.concatenate([codes, new_codes]))
    total = np.zeros(len(merged), dtype=np.int64)
    for part, count in ((codes, counts), (new_codes, new_counts)):
        total[np.searchsorted(merged, part)] += count
    return merged, total


class CodeIndex:
    """The positions of distinct codes (N,) int64: a hash table with linear probing (Knuth 1998, section 6.4) in arrays.

    Among 50,000 codes a lookup takes a tenth of the time of a binary search.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes
        self.bits = max(1, int(LOAD * len(codes)).bit_length())
        self.slots = np.full(2**self.bits, -1, dtype=np.int32)  # the position of a code, or -1
        todo, slots = np.arange(len(codes), dtype=np.int32), self._first_slots(codes)
        while len(todo):
            is_free = self.slots[slots] < 0
            self.slots[slots[is_free]] = todo[is_free]  # of several codes in one slot, the last stays
            is_left = self.slots[slots] != todo
            todo, slots = todo[is_left], self._next(slots[is_left])

    def find(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(position, whether it is present) of each of any codes (M,); the position of an absent one means nothing."""
        if len(self.codes) == 0:
            return np.zeros(len(codes), dtype=np.int32), np.zeros(len(codes), dtype=bool)
        slots = self._first_slots(codes)
        found = self.slots[slots]
        is_known = (self.codes[found] == codes) & (found >= 0)
        left = np.flatnonzero(~is_known & (found >= 0))  # another code is in their slot
        while len(left):
            slots[left] = self._next(slots[left])
            found[left] = self.slots[slots[left]]
            is_known[left] = (self.codes[found[left]] == codes[left]) & (found[left] >= 0)
            left = left[~is_known[left] & (found[left] >= 0)]
        return found, is_known

    def _first_slots(self, codes: np.ndarray) -> np.ndarray:
        return (codes.view(np.uint64) * FACTOR >> np.uint64(64 - self.bits)).view(np.int64)

    def _next(self, slots: np.ndarray) -> np.ndarray:
        return (slots + 1) & (len(self.slots) - 1)
