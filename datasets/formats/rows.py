"""Rows of data files, and the layout of the files of a data set."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

MAX_ROW_BYTES = 50_000_000


class Harmless(str):
    """A reason to skip a row that is counted, but never an error."""


BLANK = Harmless("blank line")


class Row(NamedTuple):
    """One row: FILE:LINE, and its values by column or the problem; header: location of the header; twice: its repeated columns."""

    place: str
    values: dict[str, Any]
    problem: str | None = None
    header: str | None = None
    twice: Collection[str] = ()


@dataclass(frozen=True)
class Layout:
    """Layout of the files of a data set.

    columns: column names of files without a header line; max_row_bytes: a longer row is binary or endless; is_label: in
    prediction, whether a word is a label of the run: a file of labelled lines may then have none.
    """

    encodings: Sequence[str] = ("utf-8",)
    delimiter: str | None = None
    has_quotes: bool | None = None  # None: in CSV, but not in TSV
    columns: Sequence[str] | None = None
    optional: str | None = None  # one of `columns` that may be missing, such as the label of texts to predict
    max_row_bytes: int = MAX_ROW_BYTES
    is_label: Callable[[str], bool] | None = None


class Source(Protocol):
    """Interface of a data set: the splits that have files, their files and their rows."""

    @property
    def splits(self) -> Any:
        """Some of train, valid and test; always including train."""

    def files(self, split: str) -> Any:
        """Files with the content of the split."""

    def rows(self, split: str) -> Iterator[Row]:
        """The rows, the same in every pass."""
