"""Files that are whole or absent: written beside, fsynced, renamed, and the folder fsynced."""

import contextlib
import errno
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from utils.errors import StorageError

TEMPORARY = ".tmp-"  # every unfinished file or folder of ours begins so; see `unfinished`
DAY = 86400.0  # seconds after which what another machine has not finished counts as left
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def storage_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn an OSError on `path` into a StorageError that names it, with the bytes needed, where known, and free on a full disk."""
    try:
        yield
    except OSError as error:
        room = f" ({needed:,} bytes needed, {free_bytes(path):,} free)" if needed else ""
        if error.errno in NO_ROOM and not needed:
            room = f" ({free_bytes(path):,} bytes free)"
        is_ours = error.filename is None or TEMPORARY in str(error.filename)  # a name that no user has ever seen
        place = path if is_ours else error.filename
        raise StorageError(f"{place}: cannot be written: {error.strerror or error}{room}") from error


def free_bytes(path: Path) -> int:
    """Free bytes of the disk that holds `path`, or would hold it; 0 where that cannot be told."""
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free
    except OSError:
        return 0


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file. Raises OSError for a pipe or a device, which a read might never come back from, and beyond the limit."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if limit is not None and about.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
        return file.read()


def unfinished(path: Path) -> Path:
    """Where a file or folder of this name is made before it has the name: beside it, named after machine and process."""
    return path.with_name(f"{TEMPORARY}{path.name}-{machine()}-{os.getpid()}")


def machine() -> str:
    """The name of this machine as it stands in the names of unfinished files."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


def probe(folder: Path) -> None:
    """Raise OSError unless files can be made in the folder."""
    path = unfinished(folder / "probe")
    path.touch()
    path.unlink(missing_ok=True)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it lies on the disk."""
    if path.is_symlink():  # not of ours, and would lead the write elsewhere
        path.unlink()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace `path` so that a reader, or a start after a power cut, finds the old content or the new one."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = unfinished(path)
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


def remove_leftovers(folder: Path, *, is_claimed: bool = False) -> None:
    """Remove unfinished files of ours in `folder` whose process is gone; a name without machine and process is not ours.

    Those of another machine, which may share the folder, only where we hold the folder's lock, or when they are older than a day.
    One that cannot be removed, such as another user's, is left: it harms nothing.
    """
    for path in folder.glob(f"{TEMPORARY}*"):
        maker = re.fullmatch(r".*-([A-Za-z0-9._]+)-([0-9]{1,9})", path.name)
        with contextlib.suppress(OSError):
            if maker is not None and _is_left(path, maker[1], int(maker[2]), is_claimed):
                remove(path)


def _is_left(path: Path, maker: str, pid: int, is_claimed: bool) -> bool:
    if maker != machine():
        return is_claimed or time.time() - path.lstat().st_mtime > DAY
    return pid == os.getpid() or not is_running(pid)  # our own number: an earlier process had it


def remove(path: Path) -> None:
    """Remove a file or a folder; a folder is renamed first, so that no half of it is left under its name."""
    if path.is_dir() and not path.is_symlink():
        doomed = path
        if not path.name.startswith(TEMPORARY):
            doomed = unfinished(path.with_name(f"old-{path.name}"))  # beside the new one of that name
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
