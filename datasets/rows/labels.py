"""Checks of the label set before training, and warnings about labels that cannot be evaluated."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datasets.rows.label_reader import NAME_THEM, POSITIONS, is_written_list
from utils.errors import DataError
from utils.metrics.label_counts import MAX_LABELS

MAX_LISTED = 5  # labels named in a warning


def labels_hash(labels: list[str]) -> str:
    """Hash of the labels and their order, for checkpoints."""
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


def check_labels(label_sets: Iterable[tuple[str, ...]], place: str, column: str) -> None:
    """Raise DataError for labels that differ only in spelling, or that are too many for a label column.

    Labels are not stripped: they stay exactly as in the file, so that predictions can be joined to it. Two that differ only in
    space or case are one class spelt in two ways, and a model would learn to guess which.
    """
    labels = sorted({label for labels in label_sets for label in labels})
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{place}: the column {column!r} holds {len(labels):,} labels, {labels[0]!r} to {labels[-1]!r}; "
            f"at most {MAX_LABELS:,} are supported; is data.label the right column?"
        )
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(_folded(label), []).append(label)
    if variants := [group for group in groups.values() if len(group) > 1]:
        listed = "; ".join(" and ".join(map(repr, group)) for group in variants[:10])
        raise DataError(
            f"{place}: labels in {column!r} that differ only by case, space, composition, width, invisible marks or a final .0: "
            f"{listed}; use one spelling for each"
        )


def check_found(
    found: Mapping[str, set[str]], label_sets: Sequence[tuple[str, ...]], files: Mapping[str, Path], column: str
) -> None:
    """Raise DataError for fewer than two training labels, or for a label unseen in training; found: labels by split."""
    known = sorted(found["train"])
    if len(known) < 2:
        listed = ", ".join(map(repr, known))
        raise DataError(f"{files['train']}: the column {column!r} has only one label ({listed}); two are needed")
    if len(set(label_sets)) < 2:
        hint = f"; {NAME_THEM}" if set(known) <= set(POSITIONS) else ""
        raise DataError(f"{files['train']}: all texts have the same labels ({', '.join(map(repr, known))}){hint}")
    for split in ("valid", "test"):
        if unseen := sorted(found[split] - set(known)):
            listed = ", ".join(map(repr, known[:20]))
            raise DataError(
                f"{files[split]}: {split} holds the label {unseen[0]!r}, which no training row has; known: {listed}"
            )


def describe_odd(
    label_sets: Sequence[tuple[str, ...]], column: str, names: Sequence[str] | None, separator: str | None
) -> list[str]:
    """Warnings about likely mistakes: lists read as one label, another separator, and data.label_names that no row has.

    separator: of several labels in a cell; None for one label a text
    """
    labels = sorted({label for labels in label_sets for label in labels})
    lines = []
    if written := list(filter(is_written_list, labels)):
        lines.append(
            f"{len(written)} of the {len(labels)} labels in {column!r} look like lists, such as {written[0]!r}; is "
            "data.multi_label: true meant?"
        )
    joined = [label for label in labels if re.search(r"\w\s*[,;|/]\s*\w", label)]
    if separator is not None and joined and max(map(len, label_sets)) < 2:
        lines.append(
            f"no row has two labels in {column!r}, and {len(joined)} of the {len(labels)} labels look like several, such as "
            f"{joined[0]!r}; is data.label_separator: {separator!r} right?"
        )
    if unused := [name for name in names or () if name not in labels]:
        listed = ", ".join(map(repr, unused[:MAX_LISTED]))
        lines.append(f"no row has {len(unused)} of the {len(names or ())} data.label_names ({listed})")
    return lines


def describe_unmeasured(labels: Sequence[str], found: Mapping[str, set[str]], *, is_multi_label: bool) -> list[str]:
    """A warning for each evaluated split in which some labels do not occur; found: labels by split."""
    effect = "counts as 0 in macro F1" if is_multi_label else "counts in macro F1 only where it is predicted, as 0"
    lines = []
    for split, present in found.items():
        if missing := [label for label in labels if label not in present]:
            listed = ", ".join(map(repr, missing[:MAX_LISTED])) + (", ..." if len(missing) > MAX_LISTED else "")
            lines.append(
                f"{split} has no row of {len(missing)} of the {len(labels)} labels ({listed}): "
                f"not measured, and each {effect}"
            )
    return lines


def _folded(label: str) -> str:
    """A label without what the eye may miss: case, space, composition, width, invisible characters, and a final .0 or .00."""
    text = unicodedata.normalize("NFC", label)
    seen = [unicodedata.normalize("NFKC", c) if unicodedata.east_asian_width(c) == "F" else c for c in text]
    shown = "".join(c for c in "".join(seen) if unicodedata.category(c) != "Cf")
    return re.sub(r"^(-?\d+)\.0+$", r"\1", " ".join(shown.casefold().split()))
