"""Rows -> records with the config's columns; every row is used, or skipped and counted with the reason."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from datasets.formats.rows import Harmless, Row
from utils.config.schema import did_you_mean
from utils.errors import DataError, in_words, printable

if TYPE_CHECKING:
    from datasets.rows.targets import Target

# A problem without the row's own details, in brackets or after a semicolon; quoted columns and labels may contain both.
REASON = re.compile(r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?! \(|;).)*+""", re.DOTALL)
WITH_LABELS = (
    "if each line begins with its label, write data.format: labelled_lines; a folder may hold a file for each class "
    "(data.format: file_per_class) or a folder for each"
)


class Record(NamedTuple):
    """A usable row: its location, id, texts and labels (None without a target)."""

    place: str
    id: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


class Skipped(NamedTuple):
    """A skipped row: its id and the reason."""

    id: str
    problem: str


class RecordReader:
    """Turns rows into records. `skipped` counts unused rows by reason, `num_read` all rows."""

    def __init__(
        self,
        fields: Sequence[str],
        target: "Target | None",
        *,
        id: str | None = None,
        needs_id: bool = True,
        needs_columns: bool = True,
        needs_every_text: bool = False,
        on_bad_row: str = "error",
        skip_option: str | None = "data.on_bad_row: skip",
        column_options: str = "data.fields, data.label",
    ) -> None:
        """target: None for prediction.

        needs_columns: whether at least one row must have them all; needs_every_text: whether a row with an empty text beside
        others is a bad one. Errors name skip_option (None: there is no other row, and no file) and column_options.
        """
        self.fields, self.target, self.id = list(fields), target, id
        self.label = None if target is None else target.column
        self.needs_id, self.needs_columns, self.needs_every_text = needs_id, needs_columns, needs_every_text
        self.on_bad_row, self.skip_option, self.column_options = on_bad_row, skip_option, column_options
        self.num_read = 0
        self.skipped: Counter[str] = Counter()
        self.last_skipped: Skipped | None = None

    def read(self, rows: Iterable[Row]) -> Iterator[Record | None]:
        """Yield a record per row, None for a skipped one. Raises DataError for a bad row unless bad rows are skipped."""
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
            if problem is not None and self._is_refused(problem):
                raise self._refusal(row.place, problem, rows, has_good=has_good)
            if problem is not None:
                self.last_skipped = Skipped(self._id(row).encode(errors="backslashreplace").decode(), problem)
                self.skipped[_reason(problem)] += 1
            has_good = has_good or record is not None
            yield record
        if missing is not None and not has_columns and self.needs_columns:
            raise DataError(missing)

    def counts(self) -> dict[str, Any]:
        """Rows read, used and skipped by reason, so far."""
        skipped = dict(self.skipped)
        return {"read": self.num_read, "used": self.num_read - sum(skipped.values()), "skipped": skipped}

    def answers(self, rows: Iterable[Row]) -> Iterator[Record | Skipped]:
        """Yield a record per row and, if bad rows are skipped, a Skipped for each of those."""
        for record in self.read(rows):
            if record is not None:
                yield record
            elif self.on_bad_row == "skip" and self.last_skipped is not None:
                yield self.last_skipped

    def _record(self, row: Row) -> tuple[Record | None, str | None]:
        if row.problem is not None:
            return None, row.problem
        labels, label_problem = (
            (None, None) if self.target is None else self.target.read(row.values.get(self.label or ""))
        )
        if self.target is not None and (ignored := self.target.ignored.intersection(labels or ())):
            return None, ignored_label(min(ignored))
        texts = []
        for field in self.fields:
            text = row.values.get(field)
            if text is None and field in row.values:
                text = ""  # null is like an empty CSV cell
            if not isinstance(text, str):
                kind = type(text).__name__
                return None, f"no text in {field!r}" if text is None else f"{field!r} is {kind}, not text"
            texts.append(text)
        is_empty = [not text or text.isspace() for text in texts]
        if all(is_empty):
            return None, "no text"
        if self.needs_every_text and any(is_empty):
            return None, f"no text in {self.fields[is_empty.index(True)]!r}"
        if label_problem is not None:
            return None, label_problem
        record = Record(row.place, self._id(row), tuple(texts), labels)
        try:
            for text in (record.id, *texts, *(labels or ())):
                text.isascii() or text.encode()
        except UnicodeEncodeError:  # possible with a JSON escape
            return None, "half of a surrogate pair, which is not text"
        return record, None

    def _id(self, row: Row) -> str:
        id = row.values.get(self.id) if self.id else None
        has_id = id is not None and id == id and str(id).strip() != ""  # NaN is a missing value
        return str(id) if has_id else printable(row.place)

    def _missing_column(self, row: Row) -> str | None:
        columns = [*self.fields, *filter(None, (self.label, self.id if self.needs_id else None))]
        for column in filter(row.twice.__contains__, columns):
            return f"{row.header}: the column {column!r} appears twice in the header"
        for column in columns:
            if column not in row.values:
                known = ", ".join(map(repr, itertools.islice(row.values, 20))) or "none"
                hint = _similar_column(column, row.values)
                if column == self.label and row.values.keys() == {"text"}:
                    hint = f"; plain text has no labels: {WITH_LABELS}."
                words = f"{hint} There are" if hint else "; there are"
                place = row.header or row.place
                return f"{place}: there is no column {column!r}{words} {known} (see {self.column_options})"
        return None

    def _is_refused(self, problem: str) -> bool:
        return self.on_bad_row == "error" and not isinstance(problem, Harmless)

    def _refusal(self, place: str, problem: str, rest: Iterator[Row], *, has_good: bool) -> DataError:
        """The error for the first bad row, with counts by reason of the bad rows in the rest of the file.

        In prediction the rest is not read: the input may be an endless pipe.
        """
        more: Counter[str] = Counter()
        first: dict[str, str] = {}
        end = ""
        try:
            for row in rest if self.target is not None else ():
                record, found = self._record(row)
                has_good = has_good or record is not None
                if found is not None and self._is_refused(found):
                    more[reason := _reason(found)] += 1
                    first.setdefault(reason, row.place)
        except DataError as error:
            end = f"; and then {error}"
        listed = in_words({f"{reason} (from {first[reason]})": count for reason, count in more.items()})
        others = f"; {more.total():,} more bad rows: {listed}" if more else ""
        hint = f"; fix the row, or skip such rows with {self.skip_option}" if self.skip_option else "; fix the row"
        if self.target is not None and not has_good:
            hint = "; no other row can be used either" if more else "; fix the row"  # skipping all would leave nothing
        return DataError(f"{place}: {problem}{others}{end}{'' if self.skip_option is None else hint}")


def ignored_label(label: str) -> Harmless:
    """The reason to skip a row whose label is in data.ignore_labels."""
    return Harmless(f"of the ignored label {label!r}")


def describe_unused(ignored: Iterable[str], skipped: Sequence[Mapping[str, int]]) -> list[str]:
    """A warning for each label in data.ignore_labels that no row has; skipped: the counts of each file."""
    unused = [label for label in ignored if not any(ignored_label(label) in counts for counts in skipped)]
    return [f"data.ignore_labels: no row has the label {label!r}" for label in unused]


def _reason(problem: str) -> str:
    """The reason under which a problem is counted."""
    return REASON.match(problem).group()  # type: ignore[union-attr]  # it may be empty


def _similar_column(column: str, values: dict[str, Any]) -> str:
    """Hint for a missing column: letter case, a space, a typo or the delimiter."""
    for name in values:
        if name.strip().casefold() == column.strip().casefold():
            return f"; did you mean {name!r}?"
    if len(values) == 1:
        header = next(iter(values))
        if character := next(filter(header.__contains__, ";\t|,"), None):
            return f'; the file has one column, is data.delimiter "{ascii(character)[1:-1]}"?'
    return did_you_mean(column, values)
