"""The file of an audit: its columns mapped to the run's, its labels to the run's, and the groups of its rows."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agents.running.other_rows import SKIP_OPTION, rows_of
from agents.running.predictor import Predictor
from datasets.formats.rows import BLANK, Row
from datasets.rows.records import Record
from utils.config.schema import did_you_mean
from utils.errors import ConfigError, DataError, counted
from utils.runs.run_report import describe_counts

NONE = "(none)"  # the group of rows that have no value


class Reading(NamedTuple):
    """How a file is read. columns: {the run's column, or text, label or id: the file's}; labels: {the file's: the run's}."""

    columns: Mapping[str, str]
    labels: Mapping[str, str]
    format: str = "auto"
    encoding: str | None = None
    on_bad_row: str = "error"


@dataclass(frozen=True)
class AuditedFile:
    """Records, with gold labels or without (labels None), and for each group column the group of each record."""

    path: Path
    records: list[Record]
    groups: dict[str, list[str]]
    has_ids: bool
    counts: dict[str, Any]

    @property
    def has_left_out(self) -> bool:
        """Whether rows other than blank ones were skipped."""
        return any(reason != BLANK for reason in self.counts["skipped"])

    @property
    def has_labels(self) -> bool:
        return self.records[0].labels is not None


def read_audited(predictor: Predictor, path: Path, reading: Reading, groups: Sequence[str] = ()) -> AuditedFile:
    """Raises DataError for a column that the file does not have, a label that the run does not have, and for no rows."""
    corpus = predictor.corpus
    columns = _own_columns(predictor, reading.columns)
    rows = list(rows_of(predictor, path, reading.format, reading.encoding, has_target=False))
    _check_columns(rows, [*reading.columns.values(), *groups])
    rows = [_renamed(row, columns) for row in rows]
    has_labels = any(corpus.target.column in row.values for row in rows)
    given = {"id": reading.columns.get("id", corpus.id), "column_options": "--columns"}
    reader = predictor.reader(reading.on_bad_row, has_target=has_labels, skip_option=SKIP_OPTION, **given)
    found = [(row, record) for row, record in zip(rows, reader.read(rows), strict=True) if record is not None]
    if not found:
        raise DataError(f"{path}: has no rows to audit; {describe_counts(reader.counts(), 'used')}")
    records = _with_own_labels([record for _, record in found], path, reading.labels, predictor.artifacts.labels)
    values = {column: [_group(row.values.get(column)) for row, _ in found] for column in groups}
    has_ids = reader.id is not None and all(reader.id in row.values for row, _ in found)
    return AuditedFile(path, records, values, has_ids, reader.counts())


def _own_columns(predictor: Predictor, given: Mapping[str, str]) -> dict[str, str]:
    """{the run's column: the file's}; `text` is the last field. Raises ConfigError for a name that is no column of the run."""
    corpus = predictor.corpus
    roles = {"text": corpus.fields[-1], "label": str(corpus.target.column)}
    known = {**roles, **{name: name for name in (*corpus.fields, str(corpus.target.column))}}
    for name in given:
        if name not in (*known, "id"):
            raise ConfigError(f"command line: --columns: the run has no column {name!r}; it has {', '.join(known)}, id")
    return {known[name]: column for name, column in given.items() if name in known}


def _check_columns(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Raise DataError for a column that no row has, or that the header repeats."""
    first = next((row for row in rows if row.problem is None), None)
    if first is None:
        return
    for column in columns:
        if column in first.twice:
            raise DataError(f"{first.header}: the column {column!r} appears twice in the header")
        if not any(column in row.values for row in rows):
            hint = did_you_mean(column, first.values)
            known = ", ".join(map(repr, [*first.values][:20]))
            listed = f"{hint} There are" if hint else "; there are"
            raise DataError(f"{first.header or first.place}: there is no column {column!r}{listed} {known}")


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with the file's columns also under the run's names."""
    return row._replace(values=row.values | {own: row.values[c] for own, c in columns.items() if c in row.values})


def _group(value: Any) -> str:
    return NONE if value is None or value != value or not str(value).strip() else str(value)


def _with_own_labels(
    records: list[Record], path: Path, mapping: Mapping[str, str], known: Sequence[str]
) -> list[Record]:
    """The records with the run's names of their labels. Raises DataError for labels that are not mapped to one."""
    listed = ", ".join(known[:20])
    for name, own in mapping.items():
        if own not in known:
            raise ConfigError(f"command line: --map {name}={own}: the run has no label {own!r}; it has {listed}")
    if records[0].labels is None:
        return records
    unknown = Counter(name for r in records for name in r.labels or () if mapping.get(name, name) not in known)
    if unknown:
        given = ", ".join(f"{name!r} ({counted(count, 'row')})" for name, count in unknown.most_common(5))
        raise DataError(
            f"{path}: labels that the run does not have: {given}; it has {listed}; map each to one of those: "
            f"--map {next(iter(unknown))}=LABEL"
        )
    return [r._replace(labels=tuple(sorted({mapping.get(name, name) for name in r.labels or ()}))) for r in records]


def groupings(groups: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """Each group column with its values, and of several columns their intersection."""
    for column, values in groups.items():
        yield column, list(values)
    if len(groups) > 1:
        yield " and ".join(groups), [", ".join(map(_quoted, values)) for values in zip(*groups.values(), strict=True)]


def _quoted(value: str) -> str:
    """A value that stays one of several with commas between them."""
    return json.dumps(value, ensure_ascii=False) if "," in value or '"' in value else value
