"""Progress of long tasks: a bar on a terminal, a line per minute elsewhere."""

import logging
import math
import sys
import time
from typing import ClassVar

import rich.console
import rich.progress

logger = logging.getLogger("glassbox")
PROGRESS_EVERY = 60.0  # seconds between two progress lines without a terminal


class StepBar:
    """A progress bar on a terminal; if stderr is a file or a pipe, a line per minute."""

    due: ClassVar[float] = -math.inf  # when the next line is due, shared by all bars of a run

    def __init__(self, total: int | None, description: str, unit: str) -> None:
        self._total, self._description, self._unit = total, description, unit
        self._is_shown = sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)

    def __enter__(self) -> "StepBar":
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn(self._unit + "  {task.fields[note]}"),
            rich.progress.TimeRemainingColumn(),
        )
        console = rich.console.Console(stderr=True)
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not self._is_shown)
        self._task = self._bar.add_task(self._description, total=self._total, note="")
        if time.monotonic() > StepBar.due + PROGRESS_EVERY:  # the first bar of a run, which may be short
            StepBar.due = time.monotonic() + PROGRESS_EVERY
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` units are done."""
        self._bar.update(self._task, completed=done, note=note)
        self.tell(done, note)

    def tell(self, done: int, note: str = "") -> None:
        """Only the progress line: within another bar, which a second one would disturb."""
        if not self._is_shown and time.monotonic() >= StepBar.due:
            StepBar.due = time.monotonic() + PROGRESS_EVERY
            total = "" if self._total is None else f" of {self._total:,}"
            words = [f"{self._description}: {done:,}{total} {self._unit}", *filter(None, note.split("  "))]
            logger.info("%s", ", ".join(words))
