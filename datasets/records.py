"""Rows -> records: the text fields and the label that the config names, every row used or counted with the reason."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from datasets.label_reader import LabelReader
from datasets.readers import BLANK, Row
from utils.errors import DataError, printable
from utils.schema import did_you_mean

DELIMITERS = {
    ";": ";",
    "\t": "\\t",
    "|": "|",
    ",": ",",
}  # what a header that is one column may have been meant to be cut at
LOOK_AHEAD = 1000  # rows after a bad first one that are looked at before it is called one of many


class Record(NamedTuple):
    """One text to classify: where it stands, its id, its fields, and its labels (None where they are not asked for)."""

    place: str
    id: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


class Skipped(NamedTuple):
    """A row that was not used: its id and why."""

    id: str
    problem: str


class RecordReader:
    """Turns rows into records. `skipped` counts what was not used by reason, `num_read` all."""

    def __init__(
        self,
        fields: Sequence[str],
        *,
        label: str | None,
        id: str | None = None,
        label_separator: str | None = None,
        label_names: Sequence[str] | None = None,
        on_bad_row: str = "error",
    ) -> None:
        """label_separator: given, a row has any number of labels; label_names: the labels of a multi-hot list's positions."""
        self.fields, self.label, self.id = list(fields), label, id
        self._labels = None if label is None else LabelReader(label, separator=label_separator, names=label_names)
        self.on_bad_row = on_bad_row
        self.needs_id, self.skip_option = True, "data.on_bad_row: skip"
        self.num_read = 0
        self.skipped: Counter[str] = Counter()
        self.last_skipped: Skipped | None = None

    def read(self, rows: Iterable[Row]) -> Iterator[Record | None]:
        """A record for every row, None for one that is skipped. Raises DataError at a bad row unless they are to be skipped."""
        missing = None  # what the first row lacks, until a row has every column
        has_columns = has_good = False
        for row in (rows := iter(rows)):
            self.num_read += 1
            if row.problem is None and not has_columns:
                problem = self._missing_column(row)
                has_columns, missing = problem is None, missing or problem
                if problem is not None and self.on_bad_row == "error":
                    raise DataError(problem)
            record, problem = self._record(row)
            if problem is not None:
                self._refuse(row, problem, None if has_good else rows)
            has_good = has_good or record is not None
            yield record
        if missing is not None and not has_columns:
            raise DataError(missing)

    def counts(self) -> dict[str, Any]:
        """How many rows were read, used, and skipped for which reason, so far."""
        skipped = dict(self.skipped)
        return {"read": self.num_read, "used": self.num_read - sum(skipped.values()), "skipped": skipped}

    def answers(self, rows: Iterable[Row]) -> Iterator[Record | Skipped]:
        """A record for every row, and where bad rows are skipped what is wrong with each of those."""
        for record in self.read(rows):
            if record is not None:
                yield record
            elif self.on_bad_row == "skip" and self.last_skipped is not None:
                yield self.last_skipped

    def _record(self, row: Row) -> tuple[Record | None, str | None]:
        if row.problem is not None:
            return None, row.problem
        texts = []
        for field in self.fields:
            text = row.values.get(field)
            if text is None and field in row.values:
                text = ""  # null is what an empty cell of CSV is
            if not isinstance(text, str):
                kind = type(text).__name__
                return None, f"no text in {field!r}" if text is None else f"{field!r} is {kind}, not text"
            texts.append(text)
        if all(not text or text.isspace() for text in texts):
            return None, "no text"
        labels, problem = self._labels.read(row.values.get(self._labels.column)) if self._labels else (None, None)
        if problem is not None:
            return None, problem
        record = Record(row.place, self._id(row), tuple(texts), labels)
        try:
            for text in (record.id, *texts, *(labels or ())):
                text.isascii() or text.encode()
        except UnicodeEncodeError:  # as a JSON escape can make it
            return None, "half of a surrogate pair, which is no text"
        return record, None

    def _id(self, row: Row) -> str:
        id = row.values.get(self.id) if self.id else None
        has_id = id is not None and id == id and str(id).strip() != ""  # NaN is a missing number
        return str(id) if has_id else printable(row.place)

    def _missing_column(self, row: Row) -> str | None:
        for column in [*self.fields, *filter(None, (self.label, self.id if self.needs_id else None))]:
            if column not in row.values:
                known = ", ".join(map(repr, list(row.values)[:20]))
                hint = _similar_column(column, row.values)
                words = f"{hint} There are" if hint else "; there are"
                return f"{row.place}: there is no column {column!r}{words} {known} (see data.fields, data.label)"
        return None

    def _refuse(self, row: Row, problem: str, rest: Iterator[Row] | None) -> None:
        """Count a bad row or raise DataError. rest: the rows after it, where none before it was good."""
        if self.on_bad_row == "error" and problem != BLANK:
            hint = f"; fix the row, or skip such rows with {self.skip_option}" if self.skip_option else "; fix the row"
            if self.label is not None and rest is not None and not self._has_good(rest):
                hint = "; no other row can be used either"  # and to skip all would leave nothing
            raise DataError(f"{row.place}: {problem}{hint}")
        self.last_skipped = Skipped(self._id(row).encode(errors="backslashreplace").decode(), problem)
        self.skipped[problem.partition(" (")[0].partition(";")[0]] += 1

    def _has_good(self, rows: Iterator[Row]) -> bool:
        try:
            return any(self._record(row)[0] is not None for row in itertools.islice(rows, LOOK_AHEAD))
        except DataError:
            return False


def _similar_column(column: str, values: dict[str, Any]) -> str:
    """What may have gone wrong with a column that is not there: its case, a space, a slip, the delimiter."""
    for name in values:
        if name.strip().casefold() == column.strip().casefold():
            return f"; did you mean {name!r}?"
    if len(values) == 1:
        header = next(iter(values))
        for sign, written in DELIMITERS.items():
            if sign in header:
                return f'; the file has one column, is data.delimiter "{written}"?'
    return did_you_mean(column, values)
