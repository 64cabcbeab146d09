"""Files of rows: CSV, TSV, JSON lines, Parquet, plain text and a folder per class, each also `.gz`.

A reader yields every row with its line; a row that cannot be read comes with what is wrong instead of values, so that the caller
may refuse or count it. Nothing is ever dropped here.
"""

import codecs
import contextlib
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import ConfigError, DataError, printable

BOM, LINE_END = codecs.BOM_UTF8, ord("\n")
STDIN = Path("stdin")  # this very object is standard input; another path of that name is a file
BLANK = "blank line"  # harmless: counted, never an error
NUL = "a NUL byte, which no text has; is it UTF-16, or no text at all?"
NOT_TEXT = {  # how files begin that some encodings would read all the same
    codecs.BOM_UTF16_LE: "looks like UTF-16; convert it to UTF-8",
    codecs.BOM_UTF16_BE: "looks like UTF-16; convert it to UTF-8",
    b"\x1f\x8b": "looks like gzip; give it a name that ends in .gz",
}


class Row(NamedTuple):
    """One row: FILE:LINE, its values by column, or else the problem."""

    place: str
    values: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Layout:
    """How the files of a data set are written; `columns` names them where the file has no header line."""

    encodings: Sequence[str] = ("utf-8",)
    delimiter: str | None = None
    has_quotes: bool | None = None  # None: in CSV, where quotes enclose a field with a comma, and not in TSV
    columns: Sequence[str] | None = None
    optional: str | None = None  # one of `columns` that a file may lack, as texts to predict lack the label


def read_csv(path: Path, layout: Layout) -> Iterator[Row]:
    """Comma-separated values with a header line, quoted as RFC 4180 says."""
    return _read_delimited(path, layout, layout.delimiter or ",", layout.has_quotes is not False)


def read_tsv(path: Path, layout: Layout) -> Iterator[Row]:
    """Tab-separated values with a header line. A quote is a sign like any other, as the format's own definition has it.

    (IANA, text/tab-separated-values.) Read with quotes, a stray one at the start of a cell takes in all lines up to the next.
    """
    return _read_delimited(path, layout, layout.delimiter or "\t", layout.has_quotes is True)


def read_jsonl(path: Path, layout: Layout) -> Iterator[Row]:
    """JSON lines: one object a line, in UTF-8 (RFC 8259); other encodings are tried where a file is not UTF-8."""
    encodings = list(dict.fromkeys(["utf-8", *layout.encodings]))
    for number, line, problem in _lines(path, replace(layout, encodings=encodings)):
        place = f"{path}:{number}"
        if problem or not line.strip():
            yield Row(place, {}, problem or BLANK)
            continue
        if number == 1 and (line.strip() == "[" or line.startswith(("[{", "[ {"))):
            raise DataError(f"{place}: is one JSON array; write one object a line, without commas between them")
        try:
            values = JSON.decode(line)
        except (ValueError, RecursionError) as error:
            yield Row(place, {}, f"not JSON ({getattr(error, 'msg', None) or error})")
            continue
        if isinstance(values, dict):
            yield Row(place, values)
        else:
            yield Row(place, {}, "not a JSON object")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; the library would silently keep the last of a repeated key."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


JSON = json.JSONDecoder(object_pairs_hook=_once_each)


def read_text(path: Path, layout: Layout) -> Iterator[Row]:
    """Plain text: every line is a row with one column, `text` unless the layout names it."""
    column = layout.columns[0] if layout.columns else "text"
    for number, line, problem in _lines(path, layout):
        text = line.rstrip("\r\n")
        yield Row(f"{path}:{number}", {column: text}, problem or (None if text.strip() else BLANK))


def read_parquet(path: Path, layout: Layout) -> Iterator[Row]:
    """Parquet, by the optional package pyarrow; the line is the row's number."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs the package pyarrow: pip install pyarrow") from None
    try:
        number = 0
        source = io.BytesIO(read_bytes(path)) if path is STDIN or path.name.endswith(".gz") else path
        for batch in parquet.ParquetFile(source).iter_batches(batch_size=1000):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path}:{number}", values)
    except (OSError, ValueError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def read_folder(path: Path, layout: Layout) -> Iterator[Row]:
    """A folder per class: FOLDER/LABEL/NAME.txt, one text a file; columns `text`, `label` and `id` (LABEL/NAME.txt)."""
    for file in folder_files(path):
        text, problem = decode(read_bytes(file).removeprefix(BOM), layout.encodings)
        values = {"text": text, "label": file.parent.name, "id": printable(f"{file.parent.name}/{file.name}")}
        yield Row(str(file), values, problem)


Reader = Callable[[Path, Layout], Iterator[Row]]
FORMATS: dict[str, Reader] = {
    "csv": read_csv,
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "text": read_text,
    "folder": read_folder,
}
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "text"}


def format_of(path: Path) -> str:
    """The format by the file's ending, less `.gz`. Raises DataError where it says nothing."""
    if path.is_dir():
        return "folder"
    ending = ending_of(path)
    if ending not in ENDINGS:
        raise DataError(
            f"{path}: the ending {ending or '(none)'!s} says no format; write data.format: one of {', '.join(FORMATS)}"
        )
    return ENDINGS[ending]


def ending_of(path: Path) -> str:
    """The ending that says the format: that of x.CSV.gz is .csv."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def check_file(path: Path, kind: str) -> None:
    """Raise DataError unless `path` is there and is a file, or a folder where the format is one."""
    if not path.exists():
        what = "is a link to nothing" if path.is_symlink() else "no such file or folder"
        raise DataError(f"{path}: {what} (paths are relative to the folder in which the program is started)")
    if path.is_dir() != (kind == "folder"):
        raise DataError(f"{path}: is a {'folder' if path.is_dir() else 'file'}; format {kind} does not read that")


def folder_files(path: Path) -> list[Path]:
    """The files of a folder per class, sorted by class and name; hidden files and folders are none of the user's."""
    with data_errors(path):
        folders = [folder for folder in path.iterdir() if folder.is_dir() and folder.name[0] != "."]
        return sorted(file for folder in folders for file in folder.iterdir() if file.is_file() and file.name[0] != ".")


def read_bytes(path: Path) -> bytes:
    """A whole file, unpacked where it is `.gz`."""
    with data_errors(path), open_binary(path) as file:
        return file.read()


def open_binary(path: Path) -> Any:
    """The file's bytes as a stream, unpacked where its name ends in .gz; of standard input what nobody has read yet."""
    if path is STDIN:
        if sys.__stdin__ is None:
            raise DataError("stdin: is closed; give a file, or pipe the rows in")
        return contextlib.nullcontext(sys.stdin.buffer)
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


@contextlib.contextmanager
def data_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged or unreadable file raises into a DataError that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decode(data: bytes, encodings: Sequence[str]) -> tuple[str, str | None]:
    """(text, None) by the first encoding that fits, or (what can be read of it, problem)."""
    problem = NOT_TEXT.get(data[:2]) or (NUL if b"\0" in data else None)
    if problem is not None:
        return "", problem
    for encoding in encodings:
        try:
            return data.decode(encoding), None
        except UnicodeDecodeError as error:
            problem = (
                problem or f"not {encoding} (byte 0x{data[error.start]:02x} at {error.start + 1}); see data.encoding"
            )
    return data.decode(encodings[0], "replace"), problem


def _lines(path: Path, layout: Layout) -> Iterator[tuple[int, str, str | None]]:
    """(line number, text with its line end, problem); the encoding is one for the whole file, but for a pipe's lines."""
    is_file = path is not STDIN and path.is_file()  # a pipe cannot be read twice
    encodings = [_encoding_of(path, layout.encodings)] if is_file and len(layout.encodings) > 1 else layout.encodings
    with data_errors(path), open_binary(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line[:2] in NOT_TEXT:
                raise DataError(f"{path}: {NOT_TEXT[line[:2]]}")
            if number == 1 and b"\r" in line[:-1] and line[-1] != LINE_END:
                raise DataError(f"{path}:1: its lines end in a carriage return alone; convert them to line feeds")
            yield number, *decode(line.removeprefix(BOM) if number == 1 else line, encodings)


def _encoding_of(path: Path, encodings: Sequence[str]) -> str:
    """The first encoding that fits every line of the file; the first of all where none does."""
    fitting = list(encodings)
    with data_errors(path), open_binary(path) as file:
        for line in file:
            fitting = [encoding for encoding in fitting if decode(line, [encoding])[1] is None]
    return fitting[0] if fitting else encodings[0]


def _read_delimited(path: Path, layout: Layout, delimiter: str, has_quotes: bool) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    last, is_at_end, problems = 0, False, []

    def text_lines() -> Iterator[str]:
        nonlocal last, is_at_end
        for number, line, problem in _lines(path, layout):
            last = number
            if problem:
                problems.append(problem)
            yield line
        is_at_end = True

    quoting: Any = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    reader = csv.reader(text_lines(), delimiter=delimiter, quoting=quoting, strict=has_quotes)
    columns, is_first = layout.columns, True
    while True:
        first, cells = last + 1, None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.append(f"not CSV ({error}); where quotes mean nothing write data.quotes: false")
        if cells is None and not problems:
            return
        if is_first and cells and columns and len(cells) == len(columns) - 1:
            columns = [column for column in columns if column != layout.optional]
        is_first = is_first and not cells
        place, problem = f"{path}:{first}", problems[0] if problems else None
        problems.clear()
        if problem and (columns is None or (is_at_end and last > first)):
            raise DataError(f"{place}: {problem}")  # no header; or a quote never closed, which swallows all the rest
        if problem:
            # a stray quote may have taken in the rows of several lines: each counts
            for number in range(first, last + 1 if cells is None else first + 1):
                yield Row(f"{path}:{number}", {}, problem)
        elif not cells:
            yield Row(place, {}, BLANK)
        elif columns is None:
            columns = _header(cells, place)
        elif len(cells) != len(columns):
            hint = (
                ""
                if has_quotes or '"' not in "".join(cells)
                else "; where quotes enclose cells write data.quotes: true"
            )
            yield Row(place, {}, f"{len(cells)} columns instead of {len(columns)}{hint}")
        else:
            yield Row(place, dict(zip(columns, cells, strict=True)))


def _header(cells: list[str], place: str) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        raise DataError(f"{place}: the column {twice[0]!r} stands twice in the header")
    return cells
