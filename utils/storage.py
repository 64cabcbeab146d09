"""Files that are whole or absent: written beside, fsynced, renamed, and the folder fsynced."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from utils.errors import StorageError

TEMPORARY = ".tmp-"  # every unfinished file or folder of ours begins so, and ends with the process that makes it


@contextlib.contextmanager
def storage_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn an OSError on `path` into a StorageError that names it and, for a full disk, the bytes needed and free."""
    try:
        yield
    except OSError as error:
        room = f" ({needed:,} bytes needed, {free_bytes(path):,} free)" if needed else ""
        raise StorageError(f"{error.filename or path}: cannot be written: {error.strerror or error}{room}") from error


def free_bytes(path: Path) -> int:
    """Free bytes of the disk that holds `path`, or would hold it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it lies on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace `path` so that a reader, or a start after a power cut, finds the old content or the new one."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    with storage_errors(path, len(content)):
        try:
            write_synced(temporary, content)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of ours in `folder` whose process is gone."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if not _is_running(path.name.rpartition("-")[2]):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder; a folder is renamed first, so that no half of it is left under its name."""
    if path.is_dir() and not path.is_symlink():
        doomed = path
        if not path.name.startswith(TEMPORARY):
            doomed = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(pid: str) -> bool:
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
