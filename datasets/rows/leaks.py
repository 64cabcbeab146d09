"""Leak checks: texts in two splits, repeated texts, labels contained in their text.

Findings are warnings, one line each on stderr and in report.json: a published benchmark may be flawed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.rows.records import Record
from datasets.rows.split import SPLITS

MIN_SHARE, MIN_DIFFERENCE = 0.9, 0.5  # of rows whose text contains their own label, and the margin over another label
MIN_ROWS = 20  # fewer are no evidence
ALL, EVERY = 2000, 8  # the first 2,000 rows are examined, then every 8th: enough for an estimate


class LabelWatch:
    """Counts how often a field contains its own label as a word, as a path or an id may.

    Memory and time per record are constant. A text about sport may contain the word "sport"; so occurrences of another row's
    label are counted, too, as the chance level.
    """

    def __init__(self, fields: list[str]) -> None:
        self.fields = fields
        self.num_seen = self.num_rows = self.num_compared = 0
        self.own, self.other = [0] * len(fields), [0] * len(fields)
        self._last: tuple[str, ...] = ()
        self._different: tuple[str, ...] = ()  # the most recent labels that differ from these

    def see(self, record: Record) -> None:
        """Count one record."""
        labels = record.labels
        self.num_seen += 1
        if not labels or (self.num_seen > ALL and self.num_seen % EVERY):
            return
        if labels != self._last:
            self._last, self._different = labels, self._last
        self.num_rows += 1
        self.num_compared += bool(self._different)
        for i, text in enumerate(record.texts):
            self.own[i] += holds_all(text, labels)
            self.other[i] += holds_all(text, self._different)

    def found(self) -> dict[str, float]:
        """{field: fraction of its texts that contain their own label}, for the fields that give the label away."""
        shares = {}
        for field, own, other in zip(self.fields, self.own, self.other, strict=True):
            share, chance = own / max(self.num_rows, 1), other / max(self.num_compared, 1)
            if self.num_rows >= MIN_ROWS and share >= MIN_SHARE and share - chance >= MIN_DIFFERENCE:
                shares[field] = round(share, 4)
        return shares


def holds_all(text: str, labels: tuple[str, ...]) -> bool:
    """Whether the text contains every label as a whole word."""
    return bool(labels) and all(_holds(text, label) for label in labels)


def _holds(text: str, label: str) -> bool:
    start = text.find(label)
    while start >= 0:
        end = start + len(label)
        if not (start and text[start - 1].isalnum()) and not text[end : end + 1].isalnum():
            return True
        start = text.find(label, start + 1)
    return False


def count_leaks(keys: Mapping[str, np.ndarray], watch: LabelWatch) -> dict[str, Any]:
    """Counts for `describe_leaks`; keys[split] (N,): the text keys of its rows."""
    distinct = {split: np.unique(keys[split]) for split in SPLITS}
    pairs = {}
    for first, second in (("valid", "train"), ("test", "train"), ("test", "valid")):
        if num_shared := int(np.isin(keys[first], distinct[second]).sum()):
            pairs[f"{first} in {second}"] = num_shared
    return {
        "texts": pairs,
        "repeats": {split: len(keys[split]) - len(distinct[split]) for split in SPLITS},
        "equal": [split for split in ("valid", "test") if np.array_equal(distinct[split], distinct["train"])],
        "labels": watch.found(),
    }


def describe_leaks(leaks: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """A warning for each finding; sizes[split]: its number of rows."""
    lines = []
    for pair, count in leaks["texts"].items():
        split, _, other = pair.partition(" in ")
        if split in leaks["equal"] and other == "train":
            lines.append(f"{split} holds the same texts as train: its score measures memorisation")
        else:
            lines.append(f"{count} of {sizes[split]} texts of {split} are also in {other}: they inflate its score")
    for split, count in leaks["repeats"].items():
        if count and 2 * count >= sizes[split]:
            num_texts = sizes[split] - count
            lines.append(f"{split} has {num_texts} different texts in {sizes[split]} rows: the others are duplicates")
    for field, share in leaks["labels"].items():
        lines.append(f"{100 * share:.0f}% of the texts in {field!r} contain their label as a word; is that intended?")
    return lines
