"""CSV and TSV: rows of cells under a header."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.formats.data_files import text_lines, too_long
from datasets.formats.rows import BLANK, Layout, Row
from utils.errors import DataError


def read_csv(path: Path, layout: Layout) -> Iterator[Row]:
    """Comma-separated values with a header line, quoted as in RFC 4180."""
    return _read_delimited(path, layout, layout.delimiter or ",", layout.has_quotes is not False)


def read_tsv(path: Path, layout: Layout) -> Iterator[Row]:
    """Tab-separated values with a header line. A quote is an ordinary character, as the format's definition says.

    (IANA, text/tab-separated-values.) With quoting, a stray quote at the start of a cell would swallow all lines up to the next.
    """
    return _read_delimited(path, layout, layout.delimiter or "\t", layout.has_quotes is True)


def _read_delimited(path: Path, layout: Layout, delimiter: str, has_quotes: bool) -> Iterator[Row]:
    csv.field_size_limit(layout.max_row_bytes)
    last, is_at_end, problems = 0, False, []

    def lines() -> Iterator[str]:
        nonlocal last, is_at_end
        for number, line, problem in text_lines(path, layout):
            last = number
            if problem:
                problems.append(problem)
            yield line
        is_at_end = True

    quoting: Any = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    reader = csv.reader(lines(), delimiter=delimiter, quoting=quoting, strict=has_quotes)
    header = Header(layout.columns, str(path)) if layout.columns is not None else None
    is_first = True
    while True:
        first, cells = last + 1, None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if "field limit" in str(error):
                raise DataError(f"{path}:{first}: a cell {too_long(layout.max_row_bytes)}; is a quote open?") from None
            problems.append(_problem(str(error)))
        if cells is None and not problems:
            return
        if is_first and cells and header is not None and len(cells) == len(header.columns) - 1:
            header = Header([column for column in header.columns if column != layout.optional], str(path))
        is_first = is_first and not cells
        place, problem = f"{path}:{first}", problems[0] if problems else None
        problems.clear()
        if problem and (header is None or (is_at_end and last > first)):
            raise DataError(f"{place}: {problem}")  # no header, or an unclosed quote, which swallows all the rest
        if problem:
            # a stray quote may have swallowed several lines: each counts as a row
            for number in range(first, last + 1 if cells is None else first + 1):
                yield Row(f"{path}:{number}", {}, problem)
        elif not cells:
            yield Row(place, {}, BLANK)
        elif header is None:
            header = Header(cells, place)
        else:
            yield header.row(place, cells, has_quotes)


def _problem(error: str) -> str:
    """What the library says of a row, and what to do."""
    if "new-line character" in error:
        return "not CSV (a carriage return inside a cell without quotes); quote the cell, or remove the character"
    return f"not CSV ({error}); if quotes are ordinary characters, write data.quotes: false"


class Header:
    """Columns of a file. Unnamed columns, and those whose name is repeated, are ignored."""

    def __init__(self, columns: Sequence[str], place: str) -> None:
        self.columns, self.place = list(columns), place
        counts = Counter(columns)
        self.twice = [name for name, count in counts.items() if count > 1]
        self.num_named = max((i for i, name in enumerate(columns, 1) if name.strip()), default=len(columns))

    def row(self, place: str, cells: list[str], has_quotes: bool) -> Row:
        """The row of these cells; extra empty cells at the end are dropped, and those of unnamed columns may be missing."""
        size = len(self.columns)
        if len(cells) != size and (len(cells) < self.num_named or any(cells[size:])):
            hint = "; if quotes enclose cells, write data.quotes: true" if '"' in "".join(cells) else ""
            return Row(place, {}, f"{len(cells)} columns instead of {size}{'' if has_quotes else hint}")
        values = dict(zip(self.columns, cells, strict=False))
        for name in self.twice:
            values.pop(name, None)
        return Row(place, values, None, self.place, self.twice)
