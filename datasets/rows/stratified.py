"""Stratified splits for rows with several labels, and for labels with few rows.

A greedy variant of iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): rare labels first, each row to the split that
lacks its labels most. All labels of a row count here, not only the rarest, which would leave frequent ones to chance.
"""

import itertools
from collections.abc import Sequence

import numpy as np


def ids_of(label_sets: Sequence[Sequence[str]]) -> list[tuple[int, ...]]:
    """Label sets as tuples of ids, as `stratify` takes them."""
    ids = {label: id for id, label in enumerate(sorted(set(itertools.chain.from_iterable(label_sets))), start=1)}
    return [(0, *(ids[label] for label in labels)) for labels in label_sets]


def stratify(
    numbers: np.ndarray,
    label_sets: Sequence[Sequence[int]],
    sizes: np.ndarray,
    rank: np.ndarray,
    targets: np.ndarray,
    *,
    trains: bool = True,
) -> np.ndarray:
    """(G,) the split of each group of rows that stay together; splits meet their target sizes (S,) if the groups are small enough.

    numbers, sizes, rank (G,): a group's label set, number of rows and random sort key; label_sets: the ids of each set, always
    including 0, which stands for all rows; trains: whether split 0 gets the first group of each label regardless of its target,
    so that no label is tested that was not trained on.
    """
    lengths = np.fromiter(map(len, label_sets), np.int64, len(label_sets))
    ids = np.fromiter(itertools.chain.from_iterable(label_sets), np.intp, lengths.sum())
    starts, owners = np.cumsum(lengths) - lengths, np.repeat(np.arange(len(lengths)), lengths)
    counts = np.bincount(ids, weights=np.bincount(numbers, weights=sizes, minlength=len(lengths))[owners])
    weights = counts.clip(min=1) ** -0.5  # one row matters to a rare label, and not to a frequent one
    rarest = np.minimum.reduceat(counts[ids], starts)[numbers]
    masses = np.add.reduceat(weights[ids], starts).tolist()
    is_first = _is_first(numbers, ids, owners, rank)
    shares, left = (targets / targets.sum()).tolist(), targets.tolist()
    dealt = np.zeros((len(counts), len(targets)))  # weighted rows of each label in each split
    split = np.zeros(len(numbers), dtype=np.int8)
    for group in np.lexsort((numbers, rank, rarest, -sizes)).tolist():
        number, size = int(numbers[group]), int(sizes[group])
        own = ids[starts[number] : starts[number] + lengths[number]]
        chosen = 0
        if not (trains and is_first[group]):
            has = np.add.reduce(dealt.take(own, axis=0)).tolist()  # twice as fast as dealt[own].sum(axis=0)
            chosen = _neediest(has, sum(has) + masses[number] * size, size, shares, left)
        dealt[own, chosen] += weights[own] * size
        left[chosen] -= size
        split[group] = chosen
    return split


def _neediest(has: list[float], all_rows: float, size: int, shares: list[float], left: list[int]) -> int:
    """Among the splits with room for the group, the one that most lacks its labels; else the one with the most room."""
    lacks = [
        (share * all_rows - own, s) for s, (share, own) in enumerate(zip(shares, has, strict=True)) if left[s] >= size
    ]
    return max(lacks, key=lambda lack: (lack[0], -lack[1]))[1] if lacks else left.index(max(left))


def _is_first(numbers: np.ndarray, ids: np.ndarray, owners: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(G,) whether a group is the first one with some label, in the order of rank."""
    order = np.lexsort((numbers, rank))
    of_set, of_label = np.full(owners[-1] + 1, len(order)), np.full(ids.max() + 1, len(order))
    np.minimum.at(of_set, numbers[order], np.arange(len(order)))
    np.minimum.at(of_label, ids, of_set[owners])
    is_first = np.zeros(len(order), dtype=bool)
    is_first[order[of_label[of_label < len(order)]]] = True
    return is_first
