"""A folder of the cache that is made once: under its key, locked while it is built, verified whenever it is opened.

header.json is written last; it holds the size and sha256 of every other file, and its own digest.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from datasets.store.file_hashes import check_writable, sha256_of
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import (
    beside,
    locked,
    readable,
    remove,
    remove_leftovers,
    storage_errors,
    sync_folder,
    write_synced,
)

logger = logging.getLogger("glassbox")
T = TypeVar("T")
HEADER = "header.json"
MAPPED = 2**26  # bytes above which ids are memory-mapped instead of read: they may exceed the memory
VERIFIED = 2**28  # bytes; of a larger array only the size is checked: hashing it would delay the start by seconds


def opened(
    folder: Path, open_: Callable[[Path], T], fill: Callable[[Path], None], is_written: Callable[[Path], T]
) -> T:
    """What `open_` makes of the folder, which `fill` fills first where there is none, or a damaged one.

    open_: raises as `read_header` does; fill: gets a folder beside it, and ends with `write_header`; is_written: as `open_`, of
    files that this process has just written and hashed.
    """
    if (found := _try_open(folder, open_, may_remove=False)) is not None:
        return found
    check_writable(folder.parent)
    lock = locked(folder.parent / f".{folder.name}.lock")
    assert lock is not None  # it waits
    try:
        if (found := _try_open(folder, open_, may_remove=True)) is not None:
            return found  # another process has built it meanwhile
        with storage_errors(folder):
            remove_leftovers(folder.parent)  # of a builder that died while we waited for it
            with beside(folder, is_folder=True) as temporary:
                fill(temporary)
                temporary.rename(folder)
                sync_folder(folder.parent)
        return is_written(folder)
    finally:
        lock.release()


def _try_open(folder: Path, open_: Callable[[Path], T], *, may_remove: bool) -> T | None:
    """What is there, or None if it is missing or damaged. may_remove: only under its lock, so that no other process is building it.

    Raises StorageError if it cannot be read at the moment, which is not damage.
    """
    try:
        with readable(folder):
            made = (folder / HEADER).stat().st_mtime
        found = open_(folder)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        SyntaxError,
    ) as error:  # SyntaxError: NumPy, of a dtype
        if may_remove and folder.exists():
            logger.warning("warning: %s: is damaged (%s); rebuilding it", folder, error)
            remove(folder)
        return None
    logger.info("tokens of %s from the cache", time.strftime("%Y-%m-%d %H:%M", time.localtime(made)))
    return found


def read_header(folder: Path, *, is_new: bool = False) -> dict[str, Any]:
    """The header, after its own digest and the sizes and sha256 of the files were checked; is_new: they have just been written."""
    header = read_sealed(folder / HEADER)
    for name, (size, sha256) in header["files"].items():
        path = folder / name
        with readable(path):
            if path.stat().st_size != size or (size < VERIFIED and not is_new and sha256_of(path) != sha256):
                raise ValueError(f"{name} is not the file that was written")
    return header


def write_header(folder: Path, values: dict[str, Any]) -> None:
    """Put everything onto the disk, and the header last."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    files = {path.name: [path.stat().st_size, sha256_of(path)] for path in sorted(folder.iterdir())}
    write_synced(folder / HEADER, json.dumps(sealed(values | {"files": files})).encode())
    sync_folder(folder)


def read_array(path: Path, dtype: Any, *, is_large: bool = True) -> np.ndarray:
    """A file's numbers: read, or mapped where they may be more than memory holds."""
    with readable(path):
        if path.stat().st_size < MAPPED or not is_large:
            return np.fromfile(path, dtype)
        return np.memmap(path, dtype, mode="r")
