"""Train, validation and test split: seeded, stratified by label, with equal texts always in the same split.

Texts are assigned in the order of a hash of text and seed, so the split does not depend on the order of the file.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.formats.rows import Source
from datasets.hashing import mix
from datasets.rows.stratified import stratify

SPLITS = ("train", "valid", "test")
UNUSED = -1  # assigned to rows beyond `limit`, and to skipped ones
BEYOND = -2  # to training rows beyond `train_limit`
MAX_FOLDS = 100
CLOSE = 0.02  # tolerated relative deviation of a split's size; at least one row
WHITE = b"\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # ASCII white space except the space itself


def check_shares(split: Sequence[float]) -> None:
    """Raise ValueError unless these are the shares of training, validation and test."""
    if len(split) != 3 or min(split) < 0 or split[0] <= 0 or not abs(sum(split) - 1) < 1e-6:
        raise ValueError(f"split must be three fractions (train, valid, test) that add up to 1, got {list(split)}")


def limits_of(limit: int | Mapping[str, int] | None, source: Source) -> dict[str, int | None]:
    """data.limit by split. Raises ValueError for a split without a file of its own."""
    if not isinstance(limit, Mapping):
        return dict.fromkeys(SPLITS, limit)
    if unknown := limit.keys() - set(source.splits):
        raise ValueError(
            f"limit: {min(unknown)} is no split with a file of its own; those are {', '.join(source.splits)}"
        )
    return dict(limit)


def text_key(texts: Sequence[str]) -> int:
    """64-bit hash of a text that ignores case, white space and Unicode composition."""
    normal = "\0".join(texts).lower()
    if not _is_single_spaced(normal):
        normal = "\0".join(" ".join(unicodedata.normalize("NFC", text.lower()).split()) for text in texts)
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "little")


def _is_single_spaced(text: str) -> bool:
    """Whether words are separated by single spaces, as in most texts: checking is cheaper than normalising."""
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
    train_limit: int | None = None,
) -> np.ndarray:
    """Assign rows to splits: (N,) indices into SPLITS, UNUSED or BEYOND; keys (N,) uint64 from text_key, labels (N,) int.

    Each label's texts are divided in the given proportions; with a limit, that many rows are selected first, the same fraction of
    every label; with a train_limit, only the first training rows are kept, in the order of `nested_places`. A text that occurs with
    several labels counts as the lowest of them. label_sets: for multi-label rows, the label ids of each value in `labels`, as
    `stratify` takes them.
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
    assigned = np.where(is_used, split[group], np.int8(UNUSED))
    trained = np.flatnonzero(assigned == SPLITS.index("train"))
    if train_limit is not None and train_limit < len(trained):
        places = nested_places(keys[trained], labels[trained], seed, label_sets)
        assigned[trained[places >= train_limit]] = BEYOND
    return assigned


def nested_places(
    keys: np.ndarray, labels: np.ndarray, seed: int, label_sets: Sequence[Sequence[int]] | None = None
) -> np.ndarray:
    """(N,) the place of each row in one order of them all, whose first n rows are a stratified sample for every n.

    Arguments as for `assign`. A first row of each label comes before all others, so that a small sample has every label that a test
    may ask for; the others follow by systematic sampling within each value of `labels`.
    """
    rank = mix(mix(keys ^ mix(np.array(seed, dtype=np.uint64))))  # not the split's own, whose lower part is in training
    order = np.lexsort((rank, labels))
    starts = np.searchsorted(labels[order], labels[order], side="left")  # of each label's block
    inside = np.arange(len(order)) - starts
    quantiles = np.empty(len(order))
    quantiles[order] = (inside + rank[order] / 2.0**64) / np.bincount(labels)[labels[order]]
    is_later, seen = np.ones(len(order), dtype=bool), set[int]()
    for row in order[inside == 0].tolist():
        own = {int(labels[row])} if label_sets is None else set(label_sets[labels[row]])
        is_later[row] = own <= seen
        seen |= own
    places = np.empty(len(keys), dtype=np.int64)
    places[np.lexsort((labels, rank, quantiles, is_later))] = np.arange(len(keys))
    return places


def folds(keys: np.ndarray, labels: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """(N,) the fold, 0 to num_folds - 1, of each row for cross-validation: stratified, equal texts in one fold.

    keys (N,) uint64 from text_key, labels (N,) int; a text that occurs with several labels counts as the lowest of them. A label
    with two texts is in two folds, so that each of them is predicted by a model that knows the label. Raises ValueError for fewer
    than two folds, or more than there are different texts.
    """
    unique, group = np.unique(keys, return_inverse=True)
    if not 2 <= num_folds <= min(len(unique), MAX_FOLDS):
        raise ValueError(f"num_folds must be between 2 and {min(len(unique), MAX_FOLDS)}, got {num_folds}")
    group_labels = np.full(len(unique), labels.max())
    np.minimum.at(group_labels, group, labels)
    targets = np.full(num_folds, len(keys) // num_folds) + (np.arange(num_folds) < len(keys) % num_folds)
    label_sets = [(0, label + 1) for label in range(labels.max() + 1)]
    rank = mix(unique ^ mix(np.array(seed, dtype=np.uint64)))
    return stratify(group_labels, label_sets, np.bincount(group), rank, targets, trains=False)[group].astype(np.int64)


def _dealt(
    labels: np.ndarray,
    sizes: np.ndarray,
    rank: np.ndarray,
    shares: Mapping[str, float],
    label_sets: Sequence[Sequence[int]] | None,
) -> np.ndarray:
    """(G,) the split of each group: the rows of each label divided in proportion, if all labels have enough rows.

    Otherwise, and for multi-label rows, `stratify` keeps the sizes: the rounding of many small labels adds up, or leaves a label
    without training rows.
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
    """Quantile (0 to 1) of each group's midpoint among the rows of its label, in the order of `rank`."""
    order = np.lexsort((rank, labels))
    ends = np.cumsum(sizes[order])
    middles = ends - sizes[order] / 2
    starts = np.searchsorted(labels[order], labels[order], side="left")  # of each label's block
    before = np.concatenate([[0], ends])[starts]
    totals = np.bincount(labels, weights=sizes)[labels[order]]
    quantiles = np.empty(len(sizes))
    quantiles[order] = (middles - before) / totals
    return quantiles
