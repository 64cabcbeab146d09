"""One process at a time in a run's folder."""

import os
from pathlib import Path

from utils.errors import StorageError
from utils.files.storage import is_same, lock_now, locked


class RunLock:
    """A lock file beside the folder, and once the run has one, a file of its own: the first could be removed by itself."""

    def __init__(self, folder: Path, own: Path) -> None:
        """Take both. Raises StorageError where another process has one of them."""
        self.folder, self._own = folder, own
        self._held: int | None = None
        path = folder.with_name(f".{folder.name}.lock")
        lock = locked(path, timeout=0)
        if lock is None:
            raise self._in_use()
        self._lock = lock
        os.utime(path)

    def hold(self) -> None:
        """Lock the file of its own that the folder has now."""
        self.let_go()
        if self._own.is_file():
            self._held = os.open(self._own, os.O_RDWR)
            try:
                lock_now(self._held)
            except BlockingIOError:
                raise self._in_use() from None

    def check(self) -> None:
        """Raise StorageError where the folder is not the one any more that was claimed: it may be another process' run by now."""
        if self._held is not None and not is_same(self._own, self._held):
            raise StorageError(f"{self.folder}: was moved, removed or replaced while this run was using it")

    def let_go(self) -> None:
        """Free the file, which is about to be replaced."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def release(self) -> None:
        """Let other processes have the folder."""
        self.let_go()
        self._lock.release()

    def _in_use(self) -> StorageError:
        return StorageError(
            f"{self.folder}: another process is using this run; wait for it, or give this one another name="
        )
