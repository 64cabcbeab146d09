"""Data files as bytes and as lines: checks, decompression, decoding, and a limit on the length of a line."""

import codecs
import contextlib
import functools
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.formats.rows import MAX_ROW_BYTES, Layout
from utils.errors import DataError, unreadable

BOM, LINE_END = codecs.BOM_UTF8, ord("\n")
STDIN = Path("stdin")  # this very object is standard input; another path of that name is a file
NUL = "a NUL byte, which no text has; is it UTF-16, or a binary file?"
NOT_TEXT = {  # first bytes of files that some encodings would accept
    codecs.BOM_UTF16_LE: "looks like UTF-16; convert it to UTF-8",
    codecs.BOM_UTF16_BE: "looks like UTF-16; convert it to UTF-8",
    b"\x1f\x8b": "looks like gzip; give it a name that ends in .gz",
}
FOLDERS = ("folder", "file_per_class")  # the formats that are folders
WAY_OUT = "is it text? data.max_row_bytes sets the limit"
MAX_RATIO = 1100  # deflate compresses at most 1,032 bytes into one
NO_CP1252 = {0x81, 0x8D, 0x8F, 0x90, 0x9D}


def check_exists(path: Path) -> None:
    """Raise DataError if `path` does not exist."""
    with data_errors(path):
        if not path.exists():
            what = "is a broken link" if path.is_symlink() else "no such file or folder"
            raise DataError(f"{path}: {what} (paths are relative to the folder in which the program is started)")


def check_file(path: Path, kind: str) -> None:
    """Raise DataError unless `path` is a regular file, or a folder if the format is one. Opening a pipe may block forever."""
    check_exists(path)
    if path.is_dir() != (kind in FOLDERS):
        raise DataError(f"{path}: is a {'folder' if path.is_dir() else 'file'}; format {kind} does not read that")
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path}: is not a regular file, and training reads its files more than once")


def read_bytes(path: Path, limit: int = MAX_ROW_BYTES, way_out: str = WAY_OUT) -> bytes:
    """Content of a file, decompressed if it is `.gz`. Raises DataError for more than `limit` bytes."""
    with data_errors(path), open_binary(path) as file:
        largest = limit if path is STDIN else min(limit, MAX_RATIO * max(path.stat().st_size, 1000))
        data: bytes = file.read(largest + 1)
    if len(data) > limit:
        raise DataError(f"{path}: {too_long(limit, way_out)}")
    return data


def open_binary(path: Path) -> Any:
    """Binary stream of a file, decompressed if its name ends in .gz, or of the unread rest of standard input."""
    if path is STDIN:
        if sys.__stdin__ is None:
            raise DataError("stdin: is closed; give a file, or pipe the rows in")
        return contextlib.nullcontext(sys.stdin.buffer)
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


def too_long(limit: int, way_out: str = WAY_OUT) -> str:
    """The problem of an oversized line, cell or one-text file."""
    return f"is longer than {limit:,} bytes; {way_out}"


def byte_lines(path: Path, limit: int, way_out: str = WAY_OUT) -> Iterator[tuple[int, bytes]]:
    """(number, line with its end), without a byte order mark. Raises DataError for a line of more than `limit` bytes."""
    with data_errors(path), open_binary(path) as file:
        for number, line in enumerate(iter(functools.partial(file.readline, limit + 1), b""), 1):
            if len(line) > limit:
                raise DataError(f"{path}:{number}: {too_long(limit, way_out)}")
            yield number, line.removeprefix(BOM) if number == 1 else line


@contextlib.contextmanager
def data_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged or unreadable file into a DataError that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(unreadable(path, error)) from None


def decode(
    data: bytes, encodings: Sequence[str], likely: Callable[[], str | None] | None = None
) -> tuple[str, str | None]:
    """Decode by the first encoding that fits -> (text, None), or (the readable part, problem); likely: the encoding to suggest."""
    problem = NOT_TEXT.get(data[:2]) or (NUL if b"\0" in data else None)
    if problem is not None:
        return "", problem
    for encoding in encodings:
        try:
            return data.decode(encoding), None
        except UnicodeDecodeError as error:
            problem = problem or f"not {encoding} (byte 0x{data[error.start]:02x} at {error.start + 1})"
    found = likely() if likely else likely_encoding([data])
    hint = "see data.encoding (predict, test: --encoding)"
    if found not in (None, *encodings):
        hint = f"it looks like {found}: write data.encoding: {found} (predict, test: --encoding {found})"
    return data.decode(encodings[0], "replace"), f"{problem}; {hint}"


def likely_encoding(lines: Iterable[bytes]) -> str | None:
    """Guess utf-8, latin-1 or cp1252 from the bytes of a file; None if none of these is likely.

    Western text rarely has four non-ASCII letters in a row, so those are another script's; UTF-8 mixed with other lines is damage.
    """
    found: set[int] = set()
    are_utf8: set[bool] = set()
    for line in lines:
        if not line.isascii():
            are_utf8.add(_fits(line, "utf-8"))
            found.update(line)
            if len(are_utf8) == 2 or (False in are_utf8 and re.search(rb"[\x80-\xff]{4}", line)):
                return None
    if True in are_utf8:
        return "utf-8"
    if found & NO_CP1252:
        return None
    return "cp1252" if any(0x80 <= byte < 0xA0 for byte in found) else "latin-1"


def text_lines(path: Path, layout: Layout) -> Iterator[tuple[int, str, str | None]]:
    """(line number, text with its line end, problem); a file has one encoding, while a pipe is decoded line by line."""
    limit, encodings = layout.max_row_bytes, layout.encodings
    is_file = path is not STDIN and path.is_file()  # a pipe cannot be read twice

    def again() -> Iterator[bytes]:
        return (line for _, line in byte_lines(path, limit))

    if len(encodings) > 1 and is_file:
        encodings = [next((e for e in encodings if all(_fits(line, e) for line in again())), encodings[0])]
    likely = functools.cache(lambda: likely_encoding(again())) if is_file else None
    for number, line in byte_lines(path, limit):
        if number == 1 and line[:2] in NOT_TEXT:
            raise DataError(f"{path}: {NOT_TEXT[line[:2]]}")
        if number == 1 and b"\r" in line[:-1] and line[-1] != LINE_END:
            raise DataError(f"{path}:1: its lines end in a carriage return alone; convert them to line feeds")
        try:
            text = line.decode(encodings[0])
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:  # undecodable, or with a NUL; all else takes the fast path
            yield number, *decode(line, encodings, likely)
        else:
            yield number, text, None


def _fits(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
