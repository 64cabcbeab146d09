"""Which row goes into which split: seeded, stratified by label, and equal texts always on one side.

The order in which texts are dealt out is a hash of the text and the seed, so that it does not depend on the order of the file.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.hashing import mix
from datasets.rows.stratified import stratify

SPLITS = ("train", "valid", "test")
UNUSED = -1
CLOSE = 0.02  # how far the size of a split may be from its share, or one row where that is more
WHITE = b"\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # all white space of ASCII but the space itself


def text_key(texts: Sequence[str]) -> int:
    """64 bits that two texts share if they are equal but for case, white space and the composition of accents."""
    normal = "\0".join(texts).lower()
    if not _is_single_spaced(normal):
        normal = "\0".join(" ".join(unicodedata.normalize("NFC", text.lower()).split()) for text in texts)
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "little")


def _is_single_spaced(text: str) -> bool:
    """Whether white space is one space between words, as in most texts: that is seen faster than it is made so."""
    if not text.isascii() or "  " in text or " \0" in text or "\0 " in text or text[:1] == " " or text[-1:] == " ":
        return False
    return len(text.encode().translate(None, WHITE)) == len(text)


def assign(
    keys: np.ndarray,
    labels: np.ndarray,
    shares: Mapping[str, float],
    seed: int,
    limit: int | None = None,
    label_sets: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """(N,) the index in SPLITS of each row, or UNUSED beyond `limit`; keys (N,) uint64 from text_key, labels (N,) int.

    Each label's texts are dealt out in the given shares; with a limit, first so many rows are kept, an equal share of every
    label. A text that stands there with several labels is dealt out with those of the least. label_sets: where a row may have any
    number of labels, what each number in `labels` stands for, as `stratify` takes it.
    """
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int8)
    unique, group = np.unique(keys, return_inverse=True)
    group_labels = np.full(len(unique), labels.max())
    np.minimum.at(group_labels, group, labels)
    rank = mix(unique ^ mix(np.array(seed, dtype=np.uint64)))
    is_used = np.ones(len(keys), dtype=bool)
    if limit is not None and limit < len(keys):
        if label_sets is None:
            quantile = _quantiles(group_labels, np.bincount(group), rank)
            is_used[np.lexsort((labels, rank[group], quantile[group]))[limit:]] = False
        else:
            targets = np.array([limit, len(keys) - limit])
            ones = np.ones(len(keys), dtype=int)
            is_used = stratify(labels, label_sets, ones, rank[group], targets, trains=False) == 0
    sizes = np.bincount(group[is_used], minlength=len(unique))
    kept = sizes > 0
    split = np.full(len(unique), UNUSED, dtype=np.int8)
    split[kept] = _dealt(group_labels[kept], sizes[kept], rank[kept], shares, label_sets)
    return np.where(is_used, split[group], np.int8(UNUSED))


def _dealt(
    labels: np.ndarray,
    sizes: np.ndarray,
    rank: np.ndarray,
    shares: Mapping[str, float],
    label_sets: Sequence[Sequence[int]] | None,
) -> np.ndarray:
    """(G,) the split of each group: the rows of its label cut by the shares, where every label has enough of them for that.

    Where it does not, since the rounding of many small labels adds up, or leaves a label without a row for training, and for
    several labels a text, `stratify` keeps the sizes.
    """
    asked = np.array([shares.get(name, 0.0) for name in SPLITS])
    bounds, asked = np.cumsum(asked) / sum(shares.values()), asked / sum(shares.values()) * sizes.sum()
    targets = np.floor(asked + 1e-9).astype(int)
    targets[np.argsort(targets - asked, kind="stable")[: sizes.sum() - targets.sum()]] += 1
    if label_sets is None or np.count_nonzero(asked) == 1:
        split = np.minimum(np.searchsorted(bounds, _quantiles(labels, sizes, rank), side="right"), len(SPLITS) - 1)
        found = np.bincount(split, weights=sizes, minlength=len(SPLITS))
        is_close = (abs(found - asked) <= np.maximum(1, CLOSE * asked)).all() and (found[targets > 0] > 0).all()
        if is_close and (not asked[0] or np.isin(labels, labels[split == 0]).all()):
            return split
        label_sets = [(0, label + 1) for label in range(labels.max() + 1)]
    return stratify(labels, label_sets, sizes, rank, targets)


def _quantiles(labels: np.ndarray, sizes: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Where the middle of each group lies among the rows of its label, 0 to 1, in the order of `rank`."""
    order = np.lexsort((rank, labels))
    ends = np.cumsum(sizes[order])
    middles = ends - sizes[order] / 2
    starts = np.searchsorted(labels[order], labels[order], side="left")  # of each label's run
    before = np.concatenate([[0], ends])[starts]
    totals = np.bincount(labels, weights=sizes)[labels[order]]
    quantiles = np.empty(len(sizes))
    quantiles[order] = (middles - before) / totals
    return quantiles
