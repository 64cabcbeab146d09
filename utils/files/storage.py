"""Atomic file writes (temporary file, fsync, rename, fsync of the folder), locks, and reads that never block."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from utils.errors import StorageError

TEMPORARY = ".tmp-"  # prefix of all our unfinished files and folders; see `beside`
NAME = re.compile(r"\.tmp-.*-([0-9a-f]{16}|[A-Za-z0-9._]+-[0-9]{1,9})", re.DOTALL)  # the second: of older versions
LONGEST = 200  # bytes of a name kept in its temporary name, as file systems allow 255
DAY = 86400.0  # seconds after which an unfinished file of an unknown owner counts as a leftover
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FOREIGN = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EFBIG, errno.ELOOP)  # no file of ours


@contextlib.contextmanager
def storage_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn an OSError on `path` into a StorageError that names it, with the bytes needed, if known, and free on a full disk."""
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
    """Free bytes of the disk that holds `path`, or would hold it; 0 if unknown."""
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free
    except OSError:
        return 0


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a temporary failure to read a file into a StorageError; an OSError still means that the file itself is not ours.

    A failing disk, missing permissions or too many open files do not mean that it is damaged, to be removed or skipped.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FOREIGN:
            raise
        raise StorageError(f"{path}: cannot be read now: {error.strerror or error}") from error


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file. Raises OSError for a pipe or a device, on which a read may block forever, and beyond the limit."""
    with readable(path), open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if limit is not None and about.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
        return file.read()


def unfinished(path: Path) -> Path:
    """Temporary path for making a file or folder: in the same folder, under an unguessable name."""
    name = os.fsdecode(os.fsencode(path.name)[:LONGEST])
    return path.with_name(f"{TEMPORARY}{name}-{os.urandom(8).hex()}")


@contextlib.contextmanager
def beside(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """A temporary file or folder, to be filled and renamed to `path`; removed if it was not renamed.

    It is locked during the block, which tells other processes, on any machine and in any container, that it is in use.
    """
    temporary, descriptor = _created(path, is_folder=is_folder)
    try:
        yield temporary
    finally:
        os.close(descriptor)
        if os.path.lexists(temporary):
            with contextlib.suppress(OSError):
                remove(temporary)


def refuse_existing(out: Path) -> None:
    """Raise StorageError where a command's new folder would replace something."""
    if os.path.lexists(out):
        raise StorageError(f"{out}: already exists; remove it, or give another folder with --out")


@contextlib.contextmanager
def new_folder(path: Path, num_bytes: int) -> Iterator[Path]:
    """A temporary folder, to be filled by the block; it becomes `path` only then. Raises StorageError."""
    with storage_errors(path, num_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        with beside(path, is_folder=True) as temporary:
            yield temporary
            for folder in (temporary, *(found for found in temporary.rglob("*") if found.is_dir())):
                sync_folder(folder)
            temporary.rename(path)
        sync_folder(path.parent)


def _created(path: Path, *, is_folder: bool) -> tuple[Path, int]:
    while True:
        temporary = unfinished(path)
        if is_folder:
            temporary.mkdir()
        flags = os.O_RDONLY if is_folder else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(temporary, flags | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            if not is_folder:
                raise
            continue  # another process took the new folder, which nobody had locked yet, for a leftover
        with contextlib.suppress(BlockingIOError):
            lock_now(descriptor)
            if is_same(temporary, descriptor):
                return temporary, descriptor
        os.close(descriptor)  # another process removed it before it was locked


def is_same(path: Path, descriptor: int) -> bool:
    """Whether the path still refers to the open file or folder."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def locked(path: Path, timeout: float = -1) -> filelock.BaseFileLock | None:
    """Acquire the lock of this file; the kernel releases it if this process is killed. None if another process holds it."""
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be locked: {error.strerror or error}") from None
    return lock


def probe(folder: Path) -> None:
    """Raise OSError unless files can be created in the folder."""
    with beside(folder / "probe"):
        pass


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and fsync it."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace `path` so that a reader, or a start after a power cut, finds either the old content or the new one."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    with storage_errors(path, len(content)):
        with beside(path) as temporary:
            write_synced(temporary, content)
            temporary.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, is_claimed: bool = False) -> None:
    """Remove our unfinished files in `folder` whose owner is gone: nobody holds their lock.

    If that is unknown (no locks, another user's, an older version's), remove those of a folder whose lock we hold, or that are
    older than a day. One that cannot be removed is left: it does no harm.
    """
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            is_old = is_claimed or time.time() - path.lstat().st_mtime > DAY
            if match := NAME.fullmatch(path.name):
                _remove_if_left(path, has_lock="-" not in match[1], is_old=is_old)


def _remove_if_left(path: Path, *, has_lock: bool, is_old: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        is_known = lock_now(descriptor) and has_lock
        if is_known or is_old:
            remove(path)
    except BlockingIOError:
        pass  # it is in use
    finally:
        os.close(descriptor)


def lock_now(descriptor: int) -> bool:
    """Lock an open file or folder; False if the file system has no such locks. Raises BlockingIOError if it is locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder; a folder is renamed first, so that no partial one is left under its name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path if path.name.startswith(TEMPORARY) else set_aside(path), ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(folder: Path) -> Path:
    """Rename a folder that is to be removed; -> its temporary path, which is not that of a new one."""
    aside = unfinished(folder.with_name(f"old-{folder.name}"))
    folder.rename(aside)
    return aside
