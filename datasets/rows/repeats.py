"""Warnings about contradictory rows: one text with different labels, one id for several rows."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Place = Callable[[int], str]  # row index -> FILE:LINE


def describe_repeats(files: Sequence[Any], label_sets: Sequence[tuple[str, ...]], source: Any) -> list[str]:
    """Warnings about the scanned rows of all files of a source."""
    names = ("keys", "numbers", "ids", "assigned")
    keys, numbers, ids, assigned = (np.concatenate([getattr(file, name) for file in files]) for name in names)

    def place(number: int) -> str:
        rows = itertools.chain.from_iterable(map(source.rows, source.splits))
        return str(next(itertools.islice(rows, number, None)).place)

    labels = np.where(assigned < 0, -1, numbers)
    return describe_contradictions(keys, labels, label_sets, place) + describe_repeated_ids(ids, place)


def describe_contradictions(
    keys: np.ndarray, labels: np.ndarray, label_sets: Sequence[tuple[str, ...]], place: Place
) -> list[str]:
    """A warning if a text has different labels in different rows.

    keys (N,): the rows' text keys; labels (N,): indices into label_sets, -1 for unused rows.
    """
    used = np.flatnonzero(labels >= 0)
    ordered = np.sort(keys[used])  # a text that occurs once cannot be contradictory
    used = used[np.isin(keys[used], np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))]
    order = used[np.lexsort((labels[used], keys[used]))]
    is_odd = (keys[order][1:] == keys[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    odd = np.unique(keys[order][1:][is_odd])
    if not len(odd):
        return []
    rows = used[np.isin(keys[used], odd)]
    other = rows[(keys[rows] == keys[rows[0]]) & (labels[rows] != labels[rows[0]])]
    names = [", ".join(map(repr, label_sets[labels[row]])) or "no label" for row in (rows[0], other[0])]
    example = f"{place(int(rows[0]))} ({names[0]}) and {place(int(other[0]))} ({names[1]})"
    return [f"texts with different labels in different rows: {len(odd)} ({len(rows)} rows), such as {example}"]


def describe_repeated_ids(ids: np.ndarray, place: Place) -> list[str]:
    """A warning if rows share an id; ids (N,): hashes of the row ids."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(ids)))
    if not len(again):
        return []
    example = f"{place(int(again[0]))} with that of {place(int(first[inverse[again[0]]]))}"
    return [f"rows with the id of an earlier row: {len(again)} of {len(ids)}, such as {example}"]
