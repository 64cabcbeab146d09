"""Content hashes of files, cached by size, timestamps and inode, so that a start need not read everything again.

The timestamps include ctime: an editor or `touch -r` may set mtime back, but not ctime.
"""

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets.formats.data_files import data_errors
from utils.errors import StorageError, reason_of
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import atomic_write, probe, remove_leftovers

RACY_SECONDS = 2.0  # a file changed this recently may change again without a new timestamp


def content_key(files: Iterable[Path], options: Mapping[str, Any], memory: Path) -> str:
    """sha256 of the files' contents and the options that affect the tokens.

    A file's path below the common folder counts as content: it may hold the id and the label.
    """
    files = list(files)
    depth = len(Path(os.path.commonpath([path.absolute().parent for path in files])).parts)
    names = ["/".join(path.parts[-max(2, len(path.absolute().parts) - depth) :]) for path in files]
    content = [names, file_hashes(files, memory), options]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def files_hash(source: Any, cache_folder: str) -> str:
    """Hash of the content of all files of a data source, whatever the options."""
    files = [path for split in source.splits for path in source.files(split)]
    return content_key(files, {}, Path(cache_folder) / "hashes.json")[:16]


def file_hashes(files: list[Path], memory: Path) -> list[str]:
    """The sha256 of each file; `memory` is the JSON file that caches them."""
    known: dict[str, Any] = {}
    hashes, is_changed, is_readable = [], False, True
    try:
        known = read_sealed(memory)
    except StorageError:
        is_readable = False  # it may hold other data sets' hashes, so it is not replaced
    except (OSError, ValueError):
        pass  # missing or damaged
    folder_of = functools.cache(Path.resolve)  # a folder may hold thousands of them
    for path in files:
        with data_errors(path):
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            name = str(folder_of(path.parent) / path.name)
            entry = known.get(name)
            if not (isinstance(entry, list) and len(entry) == 5 and entry[:4] == stamp):
                entry = [*stamp, sha256_of(path)]
                age = time.time() - max(stat.st_mtime, stat.st_ctime)
                if age > RACY_SECONDS:  # a time in the future is not trusted either
                    known[name] = entry
                    is_changed = True
            hashes.append(str(entry[4]))
    if is_changed and is_readable:
        with contextlib.suppress(OSError, StorageError):  # on a full or read-only disk they are hashed again
            memory.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(memory.parent)
            atomic_write(memory, json.dumps(sealed(known)))
    return hashes


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Create the folder if needed, and remove what dead processes left there. Raises StorageError if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        probe(folder)
    except (OSError, ValueError) as error:  # ValueError: a name with \0
        raise StorageError(f"{folder}: cannot be written: {reason_of(error)}; see data.cache_folder") from None
