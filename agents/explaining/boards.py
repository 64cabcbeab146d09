"""Explained texts in a run's TensorBoard, beside its curves."""

from pathlib import Path
from types import TracebackType
from typing import Any

from agents.explaining.pages import as_markdown
from utils.files.storage import storage_errors

NUM_TEXTS = 20  # of a file that are written


class Board:
    """Writes the first texts to an event file in the run's folder; nothing unless it is on."""

    def __init__(self, folder: Path, *, is_on: bool) -> None:
        self.folder, self.is_on, self.count, self.writer = folder, is_on, 0, None

    def __enter__(self) -> "Board":
        if self.is_on:
            from torch.utils.tensorboard import SummaryWriter

            with storage_errors(self.folder):
                self.writer = SummaryWriter(str(self.folder), filename_suffix=".explain")
        return self

    def add(self, line: dict[str, Any]) -> None:
        """Write a line that explains something."""
        if self.writer is not None and "words" in line and self.count < NUM_TEXTS:
            self.writer.add_text(f"explain/{self.count:02d}", as_markdown(line), 0)
            self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            with storage_errors(self.folder):
                self.writer.close()
