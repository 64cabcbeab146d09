"""Errors that end a run: each has a one-line message for the user and an exit code."""

from collections.abc import Mapping
from pathlib import Path


def printable(text: str) -> str:
    """The text with non-printable characters (escapes, line ends, direction marks) written as repr writes them."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def in_words(counts: Mapping[str, int], at_most: int = 3) -> str:
    """Reasons with their counts, the most frequent first, those beyond `at_most` summed up."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    words = [f"{count} {reason}" for reason, count in ordered[:at_most]]
    if rest := ordered[at_most:]:
        words.append(f"{sum(count for _, count in rest)} for {len(rest)} other reasons")
    return ", ".join(words)


def counted(count: int, noun: str) -> str:
    """ "1 epoch", "2 epochs"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def reason_of(error: BaseException) -> str:
    """Why the system or a library has refused: the message alone, on one line and not too long."""
    text = str(getattr(error, "strerror", None) or error)
    return " ".join(text.split())[:200] or type(error).__name__


def unreadable(path: Path | str, error: BaseException) -> str:
    """A message: a file that cannot be read, and why."""
    return f"{path}: cannot be read: {reason_of(error)}"


class GlassboxError(Exception):
    """A failure that the user can fix. Its text is one line: where, what was given, what is allowed.

    What was given may contain anything: non-printable characters (line ends, terminal escapes) are shown as escapes.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())  # it may quote a label, a name or a file's content


class ConfigError(GlassboxError):
    """An invalid config or command line, a changed run or a missing optional package."""

    exit_code = 2


class DataError(GlassboxError):
    """A data file that cannot be read as the config says."""

    exit_code = 3


class CheckpointError(GlassboxError):
    """A damaged or foreign checkpoint, or a folder that holds no usable run."""

    exit_code = 4


class StorageError(GlassboxError):
    """A full or read-only disk, or a folder that another process uses."""

    exit_code = 5


class ReaderGone(StorageError):
    """The reader of standard output has gone, as `head` does: exit without a message."""

    exit_code = 0

    def __str__(self) -> str:
        return ""


class NonFiniteError(GlassboxError):
    """A loss or gradient that is not finite; the weights were not updated with it."""

    exit_code = 6


class DistributedError(GlassboxError):
    """Ranks that cannot work together."""

    exit_code = 7


class Unsaid(DistributedError):
    """Exit without a message: another rank has already reported the failure."""

    def __init__(self, exit_code: int = DistributedError.exit_code) -> None:
        super().__init__("")
        self.exit_code = exit_code


class Stopped(SystemExit):
    """SIGINT, SIGTERM or SIGHUP ended the work; exit code 128 + signal number, as shells expect.

    It may be raised at any line, so it is not an Exception: a handler of those would take it for a failure of its own.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
