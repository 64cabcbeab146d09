"""Rows -> records: the text fields and the label that the config names, every row used or counted with the reason."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from datasets.readers import BLANK, Row
from utils.errors import DataError, printable
from utils.schema import did_you_mean

DELIMITERS = {
    ";": ";",
    "\t": "\\t",
    "|": "|",
    ",": ",",
}  # what a header that is one column may have been meant to be cut at


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
        on_bad_row: str = "error",
    ) -> None:
        self.fields, self.label, self.id = list(fields), label, id
        self.label_separator = label_separator
        self.on_bad_row = on_bad_row
        self.needs_id, self.skip_option = True, "data.on_bad_row: skip"
        self.num_read = 0
        self.skipped: Counter[str] = Counter()
        self.last_skipped: Skipped | None = None

    def read(self, rows: Iterable[Row]) -> Iterator[Record | None]:
        """A record for every row, None for one that is skipped. Raises DataError at a bad row unless they are to be skipped."""
        missing = None  # what the first row lacks, until a row has every column
        has_columns = False
        for row in rows:
            self.num_read += 1
            if row.problem is None and not has_columns:
                problem = self._missing_column(row)
                has_columns, missing = problem is None, missing or problem
                if problem is not None and self.on_bad_row == "error":
                    raise DataError(problem)
            record, problem = self._record(row)
            if problem is not None:
                self._refuse(row, problem)
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
        texts = [row.values.get(field) for field in self.fields]
        for field, text in zip(self.fields, texts, strict=True):
            if not isinstance(text, str):
                return (
                    None,
                    f"no text in {field!r}" if text is None else f"{field!r} is {type(text).__name__}, not text",
                )
        if all(not text or text.isspace() for text in texts):
            return None, "no text"
        labels, problem = self._labels(row.values)
        if problem is not None:
            return None, problem
        record = Record(row.place, self._id(row), tuple(map(str, texts)), labels)
        if any(map(_has_lone_surrogate, [record.id, *record.texts, *(labels or ())])):
            return None, "half of a surrogate pair, which is no text"
        return record, None

    def _labels(self, values: dict[str, Any]) -> tuple[tuple[str, ...] | None, str | None]:
        """The label, or with a separator given the labels (a list, or one text that is split), as text."""
        if self.label is None:
            return None, None
        value = values.get(self.label)
        if self.label_separator is not None:
            if isinstance(value, str):
                value = [part.strip() for part in value.split(self.label_separator) if part.strip()]
            if isinstance(value, list) and all(map(_is_label, value)):
                return tuple(sorted(set(map(str, value)))), None
            return (), f"no list of labels in {self.label!r}"
        if value is None or (isinstance(value, str) and not value.strip()):
            return (), f"no label in {self.label!r}"
        if not _is_label(value):
            return (), f"the label in {self.label!r} is {type(value).__name__}, not text or int"
        return (str(value),), None

    def _id(self, row: Row) -> str:
        id = row.values.get(self.id) if self.id else None
        return printable(row.place) if id is None else str(id)

    def _missing_column(self, row: Row) -> str | None:
        for column in [*self.fields, *filter(None, (self.label, self.id if self.needs_id else None))]:
            if column not in row.values:
                known = ", ".join(map(repr, list(row.values)[:20]))
                hint = _similar_column(column, row.values)
                words = f"{hint} There are" if hint else "; there are"
                return f"{row.place}: there is no column {column!r}{words} {known} (see data.fields, data.label)"
        return None

    def _refuse(self, row: Row, problem: str) -> None:
        if self.on_bad_row == "error" and problem != BLANK:
            hint = f", or skip such rows with {self.skip_option}" if self.skip_option else ""
            raise DataError(f"{row.place}: {problem}; mend the row{hint}")
        self.last_skipped = Skipped(self._id(row).encode(errors="backslashreplace").decode(), problem)
        self.skipped[problem.partition(" (")[0].partition(";")[0]] += 1


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


def _is_label(value: Any) -> bool:
    """Text that is not blank, or a whole number; a bool is none, since YAML and JSON make bools of words."""
    return bool(value.strip()) if isinstance(value, str) else type(value) is int


def _has_lone_surrogate(text: str) -> bool:
    """Whether the text cannot be written as UTF-8, as a JSON escape can make it."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
