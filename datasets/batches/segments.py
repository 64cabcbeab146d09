"""How documents become the sequences of an epoch: packed full, or pairs of segments for next-sentence or sentence-order prediction.

A pure function of (seed, epoch): nothing of it has to be saved. S: sentences, D: documents, N: sequences of the epoch.
"""

from array import array
from typing import Literal, NamedTuple

import numpy as np

from datasets.hashing import draw, mix

Pairs = Literal["none", "next_sentence", "sentence_order"]
NUM_SPECIAL = 3  # [CLS] A [SEP] B [SEP]


class PackedSequences(NamedTuple):
    """All documents in a random order, each followed by [SEP], cut every `size` tokens; the last sequence is shorter.

    order (D,): the documents; ends (D,): where each ends in the stream, with its [SEP]; starts (D,): where each
    begins in the ids.
    """

    order: np.ndarray
    ends: np.ndarray
    starts: np.ndarray
    size: int

    def __len__(self) -> int:
        return -(-int(self.ends[-1]) // self.size) if len(self.ends) else 0

    @property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each sequence, without the [CLS] in front."""
        lengths = np.full(len(self), self.size, dtype=np.int64)
        lengths[-1:] = self.ends[-1] - self.size * (len(self) - 1)
        return lengths

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) sequences -> (B, size) where each token lies in the ids, -1 for a [SEP] and beyond the end; and which are there."""
        stream = rows[:, None] * self.size + np.arange(self.size)
        is_there = stream < self.ends[-1]
        document = np.minimum(np.searchsorted(self.ends, stream, side="right"), len(self.ends) - 1)
        begins = np.concatenate([[0], self.ends])[document]
        is_token = is_there & (stream < self.ends[document] - 1)
        return np.where(is_token, self.starts[document] + stream - begins, -1), is_there


def pack(bounds: np.ndarray, size: int, seed: int, epoch: int) -> PackedSequences:
    """bounds (D + 1,): where documents begin in the ids -> the sequences of `size` tokens each."""
    order = np.argsort(draw(seed, epoch, np.arange(len(bounds) - 1)), kind="stable")
    return PackedSequences(order, np.cumsum(np.diff(bounds)[order] + 1), bounds[:-1][order], size)


class PairSequences(NamedTuple):
    """[CLS] A [SEP] B [SEP]: a, b (N, 2): where the segments begin and end in the ids; label (N,): 0 as in the document, 1 not."""

    a: np.ndarray
    b: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each sequence."""
        return self.a[:, 1] - self.a[:, 0] + self.b[:, 1] - self.b[:, 0] + NUM_SPECIAL


def pair_up(
    sentences: np.ndarray, documents: np.ndarray, pairs: Pairs, size: int, short: float, seed: int, epoch: int
) -> PairSequences:
    """The pairs of an epoch (Devlin et al. 2019, create_pretraining_data.py; Lan et al. 2020 for the sentence order).

    A document's sentences are taken one after another until they are `size` tokens less the special ones, or with the
    probability `short` fewer; they are cut in two at a random sentence. For next_sentence half of the second parts then come
    from another document, and those they replace are used again. A last sentence alone is left out of the epoch.
    """
    found = array("q")  # a list of tuples would take several times the memory
    for document, (begin, end) in enumerate(zip(documents[:-1].tolist(), documents[1:].tolist(), strict=True)):
        start, noise = begin, draw(seed, epoch, np.arange(begin, end))  # of the pair whose first sentence it is
        while end - start >= 2:
            drawn = noise[start - begin]
            pair, start = _next_pair(
                sentences, documents, pairs, size - NUM_SPECIAL, short, drawn, document, start, end
            )
            found.extend(pair)
    table = np.frombuffer(found, dtype=np.int64).reshape(-1, 5)
    a, b = _truncated(
        sentences[table[:, 0:2]], sentences[table[:, 2:4]], size - NUM_SPECIAL, draw(seed, epoch, table[:, 0])
    )
    order = np.argsort(
        draw(seed, epoch, np.arange(len(table))), kind="stable"
    )  # so that the first ones are of all documents
    return PairSequences(a[order], b[order], table[order, 4])


def _next_pair(
    sentences: np.ndarray,
    documents: np.ndarray,
    pairs: Pairs,
    size: int,
    short: float,
    noise: np.ndarray,
    document: int,
    start: int,
    end: int,
) -> tuple[tuple[int, int, int, int, int], int]:
    """((first sentence of A, its end, first of B, its end, label), where the next pair begins)."""
    is_short, target, cut, swap, other, place = _draws(noise, 6)
    wanted = 2 + int(target * (size - 1)) if is_short < short else size
    stop = int(np.searchsorted(sentences, sentences[start] + wanted))  # the sentence with which they are enough
    stop = min(max(stop, start + 2), end)
    middle = start + 1 + int(cut * (stop - start - 1))
    if swap >= 0.5:
        return (start, middle, middle, stop, 0), stop
    if pairs == "sentence_order":
        return (middle, stop, start, middle, 1), stop
    taken = int(other * (len(documents) - 2))
    taken += taken >= document  # any document but this one
    first, last = int(documents[taken]), int(documents[taken + 1])
    first += int(place * (last - first))
    room = max(1, wanted - int(sentences[middle] - sentences[start]))
    last = min(last, max(first + 1, int(np.searchsorted(sentences, sentences[first] + room))))
    return (start, middle, first, last, 1), middle


def _draws(noise: np.ndarray, count: int) -> list[float]:
    """Independent numbers in [0, 1) from one."""
    values = mix(mix(noise) + np.arange(count, dtype=np.uint64))
    return [value * 2.0**-64 for value in values.tolist()]


def _truncated(a: np.ndarray, b: np.ndarray, size: int, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments (N, 2) that are at most `size` tokens together: the longer one is shortened first, at a random end of it or both."""
    long_a, long_b = a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]
    keep_a = np.minimum(long_a, np.maximum(size - long_b, (size + 1) // 2))
    keep_b = np.minimum(long_b, size - keep_a)
    return _shortened(a, long_a - keep_a, mix(noise)), _shortened(b, long_b - keep_b, mix(noise + np.uint64(1)))


def _shortened(segment: np.ndarray, excess: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Segments without `excess` (N,) of their tokens, a random part of which at the front."""
    front = (noise % (excess + 1).astype(np.uint64)).astype(np.int64)
    return np.stack([segment[:, 0] + front, segment[:, 1] - (excess - front)], axis=1)
