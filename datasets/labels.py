"""What a set of labels must be before anything is trained on it, and what is said of one that cannot be measured."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from utils.errors import DataError

MAX_LABELS = 5000  # as utils.metrics.MAX_LABELS, whose module imports torch
MAX_LISTED = 5  # labels that a warning names


def check_labels(label_sets: Iterable[tuple[str, ...]], place: str, column: str) -> None:
    """Raise DataError where labels differ only in how they are written, or are so many that the column is hardly one of labels.

    Space around a label is not cut off: a run's labels are those of its file, letter for letter, so that its predictions can be
    joined to it. Two that differ only there, or in case, are one class written twice, and a model would learn to guess which.
    """
    labels = sorted({label for labels in label_sets for label in labels})
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{place}: the column {column!r} holds {len(labels):,} labels, {labels[0]!r} to {labels[-1]!r}; "
            f"at most {MAX_LABELS:,} can be told apart here; is data.label the right column?"
        )
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(_folded(label), []).append(label)
    if variants := [group for group in groups.values() if len(group) > 1]:
        listed = "; ".join(" and ".join(map(repr, group)) for group in variants[:10])
        raise DataError(
            f"{place}: labels in {column!r} that differ only by case, space or composition: {listed}; write each one way"
        )


def describe_unmeasured(labels: Sequence[str], found: Mapping[str, set[str]], *, is_multi_label: bool) -> list[str]:
    """A line for each split that is measured and has no row of some labels; found: the labels of each split's rows."""
    effect = "counts as 0 in macro F1" if is_multi_label else "counts in macro F1 only where it is predicted, as 0"
    lines = []
    for split, present in found.items():
        if missing := [label for label in labels if label not in present]:
            listed = ", ".join(map(repr, missing[:MAX_LISTED])) + (", ..." if len(missing) > MAX_LISTED else "")
            lines.append(
                f"{split} has no row of {len(missing)} of the {len(labels)} labels ({listed}): "
                f"what is learnt of them is not measured, and each {effect}"
            )
    return lines


def _folded(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).casefold().split())
