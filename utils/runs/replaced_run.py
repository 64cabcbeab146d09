"""The run that --fresh replaces: moved aside until the new one begins, and put back where that does not happen."""

import contextlib
import logging
import os
from pathlib import Path

from utils.files.storage import lock_now, remove, set_aside

logger = logging.getLogger("glassbox")


class ReplacedRun:
    """A run's folder under a temporary name; it is locked, which tells other processes that it is not left over."""

    def __init__(self, folder: Path) -> None:
        """Rename the folder. Raises OSError."""
        self.folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(BlockingIOError):
            lock_now(self._descriptor)
        self._aside = set_aside(folder)

    def remove(self) -> None:
        """The new run has begun."""
        os.close(self._descriptor)
        remove(self._aside)

    def put_back(self) -> None:
        """Remove what is in its place, which has not begun, and give it its name again."""
        os.close(self._descriptor)
        with contextlib.suppress(OSError):
            remove(self.folder)
            self._aside.rename(self.folder)
            logger.warning("%s: the run that --fresh was to replace is still there", self.folder)
