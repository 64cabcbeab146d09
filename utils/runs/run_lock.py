"""Lock of a run's folder: one process at a time."""

import os
from pathlib import Path

from utils.errors import StorageError
from utils.files.storage import is_same, lock_now, locked


class RunLock:
    """Locks a file next to the folder and, once it exists, a file in the folder: the former could be removed on its own."""

    def __init__(self, folder: Path, own: Path) -> None:
        """Acquire both. Raises StorageError if another process holds one of them."""
        self.folder, self._own = folder, own
        self._held: int | None = None
        path = folder.with_name(f".{folder.name}.lock")
        lock = locked(path, timeout=0)
        if lock is None:
            raise self._in_use()
        self._lock = lock
        os.utime(path)

    def hold(self) -> None:
        """Lock the file that is in the folder now."""
        self.let_go()
        if self._own.is_file():
            self._held = os.open(self._own, os.O_RDWR)
            try:
                lock_now(self._held)
            except BlockingIOError:
                raise self._in_use() from None

    def check(self) -> None:
        """Raise StorageError if the folder is no longer the one that was claimed: it may be another process' run by now."""
        if self._held is not None and not is_same(self._own, self._held):
            raise StorageError(f"{self.folder}: was moved, removed or replaced while this run was using it")

    def let_go(self) -> None:
        """Unlock the file, which is about to be replaced."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def release(self) -> None:
        """Release both locks."""
        self.let_go()
        self._lock.release()

    def _in_use(self) -> StorageError:
        return StorageError(
            f"{self.folder}: another process is using this run; wait for it, or give this one another name="
        )
