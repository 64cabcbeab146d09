"""Standard input, output and error that may be closed, on a full disk, a pipe without a reader, or not in UTF-8.

Standard output is storage: a failed write ends the program with exit code 5. Standard error is not: if it cannot be written, the
exit code still tells how the program ended.
"""

import codecs
import errno
import io
import json
import os
import re
import select
import stat
import sys
from collections.abc import Callable
from typing import Any, TextIO

from utils.errors import ReaderGone, StorageError

OUT, ERROR = 1, 2
ESCAPES = "glassbox.escapes"  # the name of our codec error handler


def prepare() -> None:
    """Replace the process's own streams by ones that keep these promises; those set by a test or notebook stay.

    A missing one becomes the null device before any file is opened, which would get its number and the output meant for it.
    """
    codecs.register_error(ESCAPES, _escapes)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
    if sys.stdout is sys.__stdout__:
        sys.stdout = _opened(OUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _opened(ERROR, sys.stderr)


def to_json(values: Any, stream: TextIO) -> str:
    """One line of JSON; only a UTF-8 stream gets non-ASCII characters, as JSON readers expect UTF-8.

    On a terminal, control (U+009B) and direction (U+202E) characters are written as escapes, which is the same JSON.
    """
    return json_writer(stream)(values)


def json_writer(stream: TextIO) -> Callable[[Any], str]:
    """`to_json` for many lines of one stream."""
    encode, is_terminal = json.JSONEncoder(ensure_ascii=not is_utf8(stream)).encode, stream.isatty()

    def line_of(values: Any) -> str:
        line = encode(values)
        if is_terminal and not line.isprintable():
            line = "".join(character if character.isprintable() else _escaped(character) for character in line)
        return line + "\n"

    return line_of


def _escaped(character: str) -> str:
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())


def is_utf8(stream: TextIO) -> bool:
    """Whether the stream can encode every character."""
    return stream.encoding is None or codecs.lookup(stream.encoding).name == "utf-8"


def _opened(number: int, old: TextIO | None) -> TextIO:
    is_line_wise = number == ERROR or bool(old and (old.line_buffering or getattr(old, "write_through", False)))
    encoding = old.encoding if old is not None else "utf-8"
    buffer = io.BufferedWriter(_Stream(number, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding=encoding, errors=ESCAPES, line_buffering=is_line_wise)


def _escapes(error: UnicodeError) -> tuple[str, int]:
    """JSON's escapes for characters that an encoding lacks: in a line of JSON they are the same characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


class _Stream(io.FileIO):
    """A standard stream whose failure has an exit code."""

    def write(self, data: Any) -> int:
        """Raise StorageError, or ReaderGone, once: later output goes to the null device."""
        try:
            while (written := super().write(data)) is None:  # another program has made the pipe non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            if self.fileno() == ERROR:
                return len(data)
            is_terminal = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(OUT).st_mode)
            os.dup2(os.open(os.devnull, os.O_WRONLY), OUT)
            if is_terminal or error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise ReaderGone("standard output: its reader has gone") from None
            raise StorageError(f"standard output: cannot be written: {error.strerror}") from None
