"""A row of a data file, and how the files of a data set are written."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

MAX_ROW_BYTES = 50_000_000


class Harmless(str):
    """A problem that is counted, and never an error."""


BLANK = Harmless("blank line")


class Row(NamedTuple):
    """One row: FILE:LINE, its values by column, or the problem; header: the place of the header; twice: the columns it repeats."""

    place: str
    values: dict[str, Any]
    problem: str | None = None
    header: str | None = None
    twice: Collection[str] = ()


@dataclass(frozen=True)
class Layout:
    """How the files of a data set are written.

    columns: their names where the file has no header line; max_row_bytes: more than that is no text, or has no end; is_label: in
    prediction, whether a word is a label of the run: a file of labelled lines may then have none.
    """

    encodings: Sequence[str] = ("utf-8",)
    delimiter: str | None = None
    has_quotes: bool | None = None  # None: in CSV, where quotes enclose a field with a comma, and not in TSV
    columns: Sequence[str] | None = None
    optional: str | None = None  # one of `columns` that a file may lack, as texts to predict lack the label
    max_row_bytes: int = MAX_ROW_BYTES
    is_label: Callable[[str], bool] | None = None


class Source(Protocol):
    """What a data set gives: the splits that it has files for, their files, and their rows."""

    @property
    def splits(self) -> Any:
        """Names out of train, valid and test; train is always one."""

    def files(self, split: str) -> Any:
        """The files whose content makes the split."""

    def rows(self, split: str) -> Iterator[Row]:
        """The rows, the same in every pass."""
