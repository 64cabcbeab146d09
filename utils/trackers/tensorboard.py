"""TensorBoard's event files, in the run's own folder."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class TensorBoard:
    """A SummaryWriter with the pages that every run has; `writer` is for what only TensorBoard shows."""

    def __init__(self, folder: Path, monitor: str) -> None:
        """monitor: the metric that the run is chosen by."""
        self.folder, self.monitor = folder, monitor
        self.writer: Any = None

    def open(self, step: int, settings: Mapping[str, Any]) -> None:
        """A new event file, which replaces everything from `step` on, that step included."""
        from torch.utils.tensorboard import SummaryWriter  # needed only for training

        suffix = f".{os.getpid()}.{time.time_ns()}"  # containers restarted in one second share host and pid
        self.writer = SummaryWriter(str(self.folder), purge_step=step, filename_suffix=suffix)
        self.writer.add_custom_scalars(layout_of(self.monitor))
        self.writer.file_writer.add_summary(hparams_of(settings)[1])

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def text(self, tag: str, text: str, step: int) -> None:
        self.writer.add_text(tag, text, step)

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        self.writer.add_image(tag, pixels, step, dataformats="HWC")

    def finish(self) -> None:
        self.writer.close()


def layout_of(monitor: str) -> dict[str, Any]:
    """TensorBoard's page Custom Scalars: what one looks at first, and the bands of several seeds (utils/analysis/group_log.py)."""
    names = dict.fromkeys(("loss", monitor))
    curves = {"loss": ["train/loss", "valid/loss"], monitor: [f"valid/{monitor}"]}
    curves |= {"learning rate": ["train/lr"], "throughput": ["train/tokens_per_second"]}
    bands = {f"{n}, seeds": ["Margin", [f"valid/{n}", f"valid_low/{n}", f"valid_high/{n}"]] for n in names}
    lines = {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in curves.items()}
    return {"run": lines, "several seeds: mean, least and greatest": bands}


def hparams_of(settings: Mapping[str, Any], metrics: Sequence[str] = ()) -> tuple[Any, Any, Any]:
    """TensorBoard's records for its HPARAMS page: which options and metrics are its columns, and a session with its settings.

    Each option has one type in all runs, or TensorBoard would hide some: a missing value is left out instead of being a text among
    numbers, and true and false are texts.
    """
    from torch.utils.tensorboard.summary import hparams

    return hparams(
        {key: _typed(value) for key, value in settings.items() if value is not None}, dict.fromkeys(metrics, 0)
    )


def _typed(value: Any) -> int | float | str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, int | float | str) else str(value)
