"""Files of rows: CSV, TSV, JSON lines, Parquet, plain text and a folder per class, each also `.gz`.

A reader yields every row with its line; a row that cannot be read comes with what is wrong instead of values, so that the caller
may refuse or count it. Nothing is ever dropped here.
"""

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import ConfigError, DataError

BOM = codecs.BOM_UTF8
BLANK = "blank line"  # harmless: counted, never an error


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
    has_quotes: bool = True
    columns: Sequence[str] | None = None


def read_csv(path: Path, layout: Layout) -> Iterator[Row]:
    """Comma-separated values with a header line, quoted as RFC 4180 says."""
    return _read_delimited(path, layout, layout.delimiter or ",")


def read_tsv(path: Path, layout: Layout) -> Iterator[Row]:
    """Tab-separated values with a header line."""
    return _read_delimited(path, layout, layout.delimiter or "\t")


def read_jsonl(path: Path, layout: Layout) -> Iterator[Row]:
    """JSON lines: one object a line."""
    for number, line, problem in _lines(path, layout):
        place = f"{path}:{number}"
        if problem or not line.strip():
            yield Row(place, {}, problem or BLANK)
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(place, {}, f"not JSON ({getattr(error, 'msg', None) or type(error).__name__})")
            continue
        if isinstance(values, dict):
            yield Row(place, values)
        else:
            yield Row(place, {}, "not a JSON object")


def read_text(path: Path, layout: Layout) -> Iterator[Row]:
    """Plain text: every line is a row with the one column `text`."""
    for number, line, problem in _lines(path, layout):
        text = line.rstrip("\r\n")
        yield Row(f"{path}:{number}", {"text": text}, problem or (None if text.strip() else BLANK))


def read_parquet(path: Path, layout: Layout) -> Iterator[Row]:
    """Parquet, by the optional package pyarrow; the line is the row's number."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs the package pyarrow: pip install pyarrow") from None
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path}:{number}", values)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def read_folder(path: Path, layout: Layout) -> Iterator[Row]:
    """A folder per class: FOLDER/LABEL/NAME.txt, one text a file; columns `text`, `label` and `id` (LABEL/NAME.txt)."""
    for file in folder_files(path):
        text, problem = decode(read_bytes(file).removeprefix(BOM), layout.encodings)
        values = {"text": text, "label": file.parent.name, "id": f"{file.parent.name}/{file.name}"}
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
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending not in ENDINGS:
        raise DataError(
            f"{path}: the ending {ending or '(none)'!s} says no format; write data.format: one of {', '.join(FORMATS)}"
        )
    return ENDINGS[ending]


def check_file(path: Path, kind: str) -> None:
    """Raise DataError unless `path` is there and is a file, or a folder where the format is one."""
    if not path.exists():
        what = "is a link to nothing" if path.is_symlink() else "no such file or folder"
        raise DataError(f"{path}: {what} (paths are relative to the folder in which the program is started)")
    if path.is_dir() != (kind == "folder"):
        raise DataError(f"{path}: is a {'folder' if path.is_dir() else 'file'}; format {kind} does not read that")


def folder_files(path: Path) -> list[Path]:
    """The files of a folder per class, sorted by class and name."""
    return sorted(
        f for folder in path.iterdir() if folder.is_dir() for f in folder.iterdir() if f.is_file() and f.name[0] != "."
    )


def read_bytes(path: Path) -> bytes:
    """A whole file, unpacked where it is `.gz`."""
    with data_errors(path), open_binary(path) as file:
        return file.read()


def open_binary(path: Path) -> Any:
    """The file's bytes as a stream, unpacked where its name ends in .gz."""
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


class data_errors:  # noqa: N801 (a context manager reads as a verb)
    """Turn what a damaged or unreadable file raises into a DataError that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | EOFError | zlib.error):
            raise DataError(f"{self.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decode(data: bytes, encodings: Sequence[str]) -> tuple[str, str | None]:
    """(text, None) by the first encoding that fits, or ("", problem)."""
    problem = None
    for encoding in encodings:
        try:
            return data.decode(encoding), None
        except UnicodeDecodeError as error:
            hint = (
                "; it looks like UTF-16, convert it to UTF-8"
                if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
                else ""
            )
            problem = problem or f"not {encoding} (byte 0x{data[error.start]:02x}){hint or '; see data.encoding'}"
    return "", problem


def _lines(path: Path, layout: Layout) -> Iterator[tuple[int, str, str | None]]:
    """(line number, text with its line end, problem); the encoding is one for the whole file."""
    encodings = layout.encodings if len(layout.encodings) == 1 else [_encoding_of(path, layout.encodings)]
    with data_errors(path), open_binary(path) as file:
        for number, line in enumerate(file, 1):
            yield number, *decode(line.removeprefix(BOM) if number == 1 else line, encodings)


def _encoding_of(path: Path, encodings: Sequence[str]) -> str:
    """The first encoding that fits every line of the file; the first of all where none does."""
    fitting = list(encodings)
    with data_errors(path), open_binary(path) as file:
        for line in file:
            fitting = [encoding for encoding in fitting if decode(line, [encoding])[1] is None]
    return fitting[0] if fitting else encodings[0]


def _read_delimited(path: Path, layout: Layout, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    last, problems = 0, []

    def text_lines() -> Iterator[str]:
        nonlocal last
        for number, line, problem in _lines(path, layout):
            last = number
            if problem:
                problems.append(problem)
            yield line

    quoting: Any = csv.QUOTE_MINIMAL if layout.has_quotes else csv.QUOTE_NONE
    reader = csv.reader(text_lines(), delimiter=delimiter, quoting=quoting, strict=layout.has_quotes)
    columns = layout.columns
    while True:
        first = last + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(f"{path}:{first}", {}, f"not CSV ({error}); where quotes mean nothing write data.quotes: false")
            continue
        if cells is None:
            return
        place, problem = f"{path}:{first}", problems[0] if problems else None
        problems.clear()
        if columns is None and problem is None:
            columns = _header(cells, place)
        elif problem or not cells or columns is None:
            yield Row(place, {}, problem or BLANK)
        elif len(cells) != len(columns):
            yield Row(place, {}, f"{len(cells)} columns instead of {len(columns)}")
        else:
            yield Row(place, dict(zip(columns, cells, strict=True)))


def _header(cells: list[str], place: str) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        raise DataError(f"{place}: the column {twice[0]!r} stands twice in the header")
    return cells
