"""What a run's log asks of a tracker."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Logger(Protocol):
    """A tracker of one run. A failure is an OSError or a RuntimeError: the run goes on without the tracker."""

    def open(self, step: int, settings: Mapping[str, Any]) -> None:
        """Begin, or go on after `step`: what a killed start wrote after it comes again, with the same values, and is shown once.

        settings: the run's config, by dotted keys
        """

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve, by its tag, such as `train/loss`."""

    def text(self, tag: str, text: str, step: int) -> None:
        """A text in Markdown."""

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """pixels: (H, W, 3) bytes."""

    def finish(self) -> None:
        """Write what is left, and close."""
