"""The predictions of a file while they are made: a folder beside it, FILE.partial, from which --resume goes on.

    FILE.partial/run.json       what the predictions are made by: checkpoint and options
    FILE.partial/lines.jsonl    JSON lines, in order; the last one may be half a line
    FILE.partial/lock           held by the process that writes

FILE gets its name, and its format, only when all lines are there.
"""

import contextlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from datasets.rows.predictions import texts_by_field
from datasets.rows.records import Record, Skipped
from utils.errors import ConfigError, StorageError
from utils.files import strict_json
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import (
    LONGEST,
    TEMPORARY,
    atomic_write,
    beside,
    locked,
    remove,
    remove_leftovers,
    storage_errors,
    sync_folder,
)

FACTS, LINES, LOCK = "run.json", "lines.jsonl", "lock"
WAIT = 5.0  # seconds in which the processes of a killed prediction let go of the lock
OTHER_INPUT = "give the same input, or leave --resume out"
Chunk = list[Record | Skipped]
Convert = Callable[[Path, Iterator[dict[str, Any]]], None]

logger = logging.getLogger("glassbox")


class Partial:
    """The folder of an unfinished file; use it in a `with` block. Raises StorageError, and ConfigError for another run's."""

    def __init__(
        self,
        path: str,
        facts: Mapping[str, Any],
        fields: Sequence[str],
        convert: Convert | None = None,
        *,
        is_resumed: bool,
    ) -> None:
        """path: the file; facts: plain values that decide its lines besides the input; fields: names of a record's texts;
        convert: writes another format than JSON lines from the lines."""
        self.path, self.target = Path(path), Path(os.path.realpath(path))  # a link stays, and its target is replaced
        self.facts, self.fields, self.convert, self.is_resumed = dict(facts), list(fields), convert, is_resumed
        name = os.fsdecode(os.fsencode(self.target.name)[:LONGEST])
        self.folder = self.target.with_name(f"{name}.partial")
        self.lines = self.folder / LINES

    def __enter__(self) -> Self:
        with self._errors():
            self._refuse_foreign()
            remove_leftovers(self.target.parent)
            self.folder.mkdir(exist_ok=True)
            self._lock = locked(self.folder / LOCK, WAIT)
            if self._lock is None:
                raise StorageError(f"{self.folder}: another process is writing {self.target.name}")
            if self.is_resumed and (self.folder / FACTS).exists():
                self._refuse_other_run()
            else:
                if self.lines.exists() and self.lines.stat().st_size:
                    logger.info(
                        "starting over: the predictions so far in %s are discarded (--resume keeps them)", self.folder
                    )
                self.lines.unlink(missing_ok=True)
                atomic_write(self.folder / FACTS, json.dumps(sealed({"facts": self.facts})))
            self.file = os.fdopen(os.open(self.lines, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        size = os.fstat(self.file.fileno()).st_size
        with contextlib.suppress(OSError):  # of a full disk, which `write` has reported
            self.file.close()
        if kind is None or size == 0:
            remove(self.folder)
        else:
            logger.info("what is predicted so far is kept in %s; --resume goes on from there", self.folder)
        assert self._lock is not None
        self._lock.release()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn an OSError into a StorageError that names the file, not what is in the folder."""
        with storage_errors(self.path):
            try:
                yield
            except OSError as error:
                raise OSError(error.errno, error.strerror) from error

    def _refuse_foreign(self) -> None:
        """Raise StorageError where the folder's name belongs to something that we did not write."""
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else {"a file"}
        is_ours = all(name in (FACTS, LINES, LOCK) or name.startswith(TEMPORARY) for name in names)
        if self.folder.is_symlink() or (self.folder.exists() and not is_ours):
            raise StorageError(f"{self.folder}: is not an unfinished prediction; move it, or give another --output")

    def _refuse_other_run(self) -> None:
        try:
            found = read_sealed(self.folder / FACTS)["facts"]
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{self.folder / FACTS}: cannot be read ({error}); leave --resume out") from None
        names = [name for name in {**found, **self.facts} if found.get(name) != self.facts.get(name)]
        if names:
            raise ConfigError(
                f"{self.folder}: was made with {names[0]} {found.get(names[0])}, not {self.facts.get(names[0])}; "
                "give the same run and options, or leave --resume out"
            )

    def whole(
        self, chunks: Iterator[Chunk], see: Callable[[list[dict[str, Any]]], None]
    ) -> tuple[int, Iterator[Chunk]]:
        """The number of chunks whose lines are there, and those after them; what follows their lines is removed.

        see: gets the lines of each. Chunks are kept or made again as a whole, since their texts share batches: so the lines are
        those of a prediction that was never interrupted. Raises ConfigError where they are of other texts.
        """
        number, place, chunk = 0, 0, next(chunks, None)
        while chunk is not None and (lines := self._lines_of(chunk)) is not None:
            see(lines)
            number, place, chunk = number + 1, self.file.tell(), next(chunks, None)
        if chunk is None and self.file.read(1):
            raise ConfigError(f"{self.folder}: has more lines than the input has rows; {OTHER_INPUT}")
        self.file.seek(place)
        self.file.truncate()
        return number, itertools.chain([] if chunk is None else [chunk], chunks)

    def _lines_of(self, chunk: Chunk) -> list[dict[str, Any]] | None:
        """The next lines, if they are whole, one for each of the chunk."""
        lines = []
        for record, written in zip(chunk, iter(self.file.readline, None), strict=False):
            try:
                line = strict_json.parse(written) if written.endswith(b"\n") else None
            except ValueError:  # after a power cut a file may hold zeros
                line = None
            if not isinstance(line, dict):
                return None
            self._refuse_other_text(record, line)
            lines.append(line)
        return lines

    def _refuse_other_text(self, record: Record | Skipped, line: Mapping[str, Any]) -> None:
        known = (
            {"problem": record.problem} if isinstance(record, Skipped) else texts_by_field(self.fields, record.texts)
        )
        if any(line.get(name) != value for name, value in ({"id": record.id} | known).items()):
            raise ConfigError(
                f"{self.folder}: {line.get('id')} is not what the input has at {record.id}; {OTHER_INPUT}"
            )

    def text_of(self, lines: Sequence[Mapping[str, Any]]) -> str:
        """The text of some lines."""
        encode = json.JSONEncoder(ensure_ascii=False).encode
        return "".join(f"{encode(line)}\n" for line in lines)

    def write(self, text: str) -> None:
        """Add the lines of a chunk."""
        with self._errors():
            self.file.write(text.encode())
            self.file.flush()

    def finish(self) -> None:
        """Give the file its format and its name."""
        with self._errors():
            os.fsync(self.file.fileno())
            made = contextlib.nullcontext(self.lines) if self.convert is None else beside(self.target)
            with made as path:
                if self.convert is not None:
                    with self.lines.open(encoding="utf-8") as lines:
                        self.convert(path, map(json.loads, lines))
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
                if self.target.exists():
                    shutil.copymode(self.target, path)
                path.replace(self.target)
            sync_folder(self.target.parent)
