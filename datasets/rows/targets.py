"""Prediction targets, read from one column: labels, a number, or nothing.

A task selects one (`BaseAgent.target`); its options are in the section `data`, next to those common to all tasks.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.rows.label_reader import LabelReader, Labels
from datasets.rows.labels import check_found, check_labels, describe_odd, describe_unmeasured
from datasets.rows.records import describe_unused
from datasets.rows.stratified import ids_of
from utils.errors import DataError

Names = tuple[str, ...]  # the target of a row: its labels, sorted, or its number as text
Found = Mapping[str, set[str]]  # the names in each split
Files = Mapping[str, Path]
Strata = tuple[np.ndarray, Sequence[Sequence[int]] | None]


class Target:
    """No target: texts only, as for pre-training.

    column: the target's column; key: the name of its values in a batch; ignored: labels whose rows are skipped.
    """

    column: str | None = None
    key: str | None = None
    ignored: frozenset[str] = frozenset()

    def read(self, value: Any) -> Labels:
        """Parse a value of the column -> (names, None), or ((), problem)."""
        return (), None

    def vocabulary(self, found: set[str]) -> list[str]:
        """The labels of the model, given the names found in training."""
        return []

    def values(self, sets: Sequence[Names], labels: Sequence[str]) -> np.ndarray | None:
        """The target values of rows with these names, (N,) or (N, L); an ignored value for a row without any."""
        return None

    def strata(self, sets: Sequence[Names]) -> Strata:
        """For `split.assign`: (N,) the stratum of each set and, for multi-label rows, the label ids of each stratum."""
        return np.zeros(len(sets), dtype=np.int64), None

    def gold(self, names: Names) -> dict[str, Any]:
        """The gold entry of a line of predictions.jsonl."""
        return {}

    def is_answer(self, word: str, labels: Sequence[str]) -> bool:
        """Whether a word in a file to predict is a value of this column and not text; labels: those of the trained run."""
        return False

    def check_known(self, names: Names, labels: Sequence[str], place: str) -> None:
        """Raise DataError for a label that the trained run does not have."""

    def check_names(self, sets: Sequence[Names], place: str) -> None:
        """Raise DataError for implausible names; place: the training file."""

    def check(self, found: Found, sets: Sequence[Names], files: Files) -> None:
        """Raise DataError if nothing can be learned, or a split has names unseen in training."""

    def describe(self, found: Found, sets: Sequence[Names], skipped: Sequence[Mapping[str, int]]) -> list[str]:
        """Warnings; skipped: the skipped rows of each file, counted by reason."""
        return []


class LabelTarget(Target):
    """Classification labels.

    label: the label column
    multi_label: allow any number of labels per text
    label_separator: separator of the labels in the label column, with multi_label
    label_names: for multi-hot labels (a list of 0s and 1s), the label of each position
    ignore_labels: skip rows with these labels, such as IMDB's unsup
    """

    column: str
    key = "label"

    def __init__(
        self,
        *,
        label: str = "label",
        multi_label: bool = False,
        label_separator: str = "|",
        label_names: list[str] | None = None,
        ignore_labels: list[str] | None = None,
    ) -> None:
        if not label_separator:
            raise ValueError("label_separator must not be empty")
        if label_names is not None and (
            not multi_label or len(set(label_names)) != len(label_names) or "" in label_names
        ):
            raise ValueError(f"label_names must name each position once, with multi_label: true, got {label_names}")
        self.column, self.is_multi_label, self.label_names = label, multi_label, label_names
        self.separator = label_separator if multi_label else None
        self.ignored = frozenset(ignore_labels or ())
        self._reader = LabelReader(label, separator=self.separator, names=label_names)

    def read(self, value: Any) -> Labels:
        return self._reader.read(value)

    def vocabulary(self, found: set[str]) -> list[str]:
        return sorted(found)

    def values(self, sets: Sequence[Names], labels: Sequence[str]) -> np.ndarray:
        """(N,) int64 label ids, -100 for none; with multi_label (N, L) uint8."""
        ids = {label: id for id, label in enumerate(labels)}
        if not self.is_multi_label:
            return np.array([ids.get(names[0], -100) if names else -100 for names in sets], dtype=np.int64)
        values = np.zeros((len(sets), len(labels)), dtype=np.uint8)
        for row, names in enumerate(sets):
            values[row, [ids[label] for label in names if label in ids]] = 1
        return values

    def strata(self, sets: Sequence[Names]) -> Strata:
        in_order = sorted(sets)  # independent of the order of the rows
        rank = {names: i for i, names in enumerate(in_order)}
        has_several = any(len(names) != 1 for names in in_order)
        return np.array([rank[names] for names in sets], dtype=np.int64), ids_of(in_order) if has_several else None

    def gold(self, names: Names) -> dict[str, Any]:
        return {"gold": list(names) if self.is_multi_label else names[0]}

    def is_answer(self, word: str, labels: Sequence[str]) -> bool:
        return {part.strip() for part in (word.split(self.separator) if self.separator else [word])} <= set(labels)

    def check_known(self, names: Names, labels: Sequence[str], place: str) -> None:
        if unknown := [name for name in names if name not in labels]:
            listed = ", ".join(labels[:20])
            raise DataError(f"{place}: the label {unknown[0]!r} is not a label of this run: {listed}")

    def check_names(self, sets: Sequence[Names], place: str) -> None:
        check_labels(sets, place, self.column)

    def check(self, found: Found, sets: Sequence[Names], files: Files) -> None:
        check_found(found, sets, files, self.column)

    def describe(self, found: Found, sets: Sequence[Names], skipped: Sequence[Mapping[str, int]]) -> list[str]:
        lines = describe_odd(sets, self.column, self.label_names, self.separator) + describe_unused(
            sorted(self.ignored), skipped
        )
        measured = {split: labels for split, labels in found.items() if split != "train"}
        return lines + describe_unmeasured(sorted(found["train"]), measured, is_multi_label=self.is_multi_label)


LARGEST = 1e16  # whose square, summed over a batch of a million, is still a float32


class NumberTarget(Target):
    """Regression target: a number, such as a rating.

    label: the column with the number
    """

    column: str
    key = "number"

    def __init__(self, *, label: str = "label") -> None:
        self.column = label

    def read(self, value: Any) -> Labels:
        try:
            is_number = not isinstance(value, bool) and not (isinstance(value, str) and "_" in value)  # Python's 1_000
            number = float(value) if is_number else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if abs(number) > LARGEST:
            return (), f"the number in {self.column!r} is beyond {LARGEST:g}, the largest that can be learnt"
        return ((repr(number),), None) if math.isfinite(number) else ((), f"no number in {self.column!r}")

    def is_answer(self, word: str, labels: Sequence[str]) -> bool:
        return self.read(word)[1] is None

    def values(self, sets: Sequence[Names], labels: Sequence[str]) -> np.ndarray:
        """(N,) float32, NaN for none."""
        return np.array([float(names[0]) if names else math.nan for names in sets], dtype=np.float32)

    def gold(self, names: Names) -> dict[str, Any]:
        return {"gold": float(names[0])}

    def check(self, found: Found, sets: Sequence[Names], files: Files) -> None:
        if len(found["train"]) < 2:
            raise DataError(f"{files['train']}: the column {self.column!r} has only one number; two are needed")
