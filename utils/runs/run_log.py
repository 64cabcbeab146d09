"""Run logging: metrics.jsonl is authoritative, TensorBoard and other trackers are derived from it, run.log and the terminal are
for people.

A sink that fails (a full disk, a vanished folder) is switched off with one warning; the training continues.
"""

import contextlib
import functools
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.drawing.confusion_image import draw_matrix, drawable
from utils.errors import printable
from utils.files.storage import atomic_write
from utils.runs.reference import ReferenceCurve
from utils.runs.saved import METRICS, metrics_line
from utils.trackers.logger import Logger
from utils.trackers.tensorboard import TensorBoard

logger = logging.getLogger("glassbox")
MAX_MISTAKES, MAX_CELL, MAX_UNBROKEN = 20, 300, 24  # rows, characters of a cell, and of one that stays on a line
FINAL = ("best_valid", "test")  # the splits' names in the log when evaluated with the best weights
# TensorBoard sorts its groups by name: these, whose scalars are single points, come after the curves of train and valid.
FINAL_TAGS = {"best_valid": "with_best_weights/valid_", "test": "with_best_weights/test_"}


class RunLog:
    """The log of one run's folder. `open_at` sets the step after which this start continues."""

    def __init__(self, folder: Path, *, is_on: bool = True, monitor: str = "loss") -> None:
        """is_on: False on ranks that do not log; monitor: the metric that the run is chosen by."""
        self.folder, self._is_on = folder, is_on
        self._off = set[str]()
        self._metrics_path = folder / METRICS
        self._tensorboard = TensorBoard(self.events_folder, monitor)
        self._trackers: dict[str, Logger] = {"TensorBoard": self._tensorboard}
        self._is_open = False
        self.reference: ReferenceCurve | None = None
        self.closing = contextlib.ExitStack()  # what else ends with the log
        self._handler = _FileHandler(folder / "run.log")
        for handler in [other for other in logger.handlers if isinstance(other, _FileHandler)]:
            logger.removeHandler(handler)  # of a run that ended before its log was closed
        if is_on:
            logger.addHandler(self._handler)

    def add_tracker(self, name: str, tracker: Logger) -> None:
        """Log to another tracker, too, from `open_at` on."""
        self._trackers[name] = tracker

    def open_at(self, step: int, settings: Mapping[str, Any], *, is_validated: bool = True) -> None:
        """Drop what a killed start wrote after `step`, and open the trackers so that every step appears there once.

        settings: by dotted keys, such as for TensorBoard's HPARAMS page, where a run thus appears from its start; is_validated:
        False if the validation of `step` itself is still to come, even if a killed start logged it.
        """
        if not self._is_on:
            return
        last = list[dict[str, Any]]()
        self.attempt(METRICS, lambda: last.extend(self._drop_after(step, is_validated=is_validated)))
        self._is_open = True
        self._to_all(lambda tracker: tracker.open(step, settings))
        for values in last:  # which TensorBoard drops with those that follow
            self._track(values.pop("split"), values, step)

    def lay_over(self, curve: ReferenceCurve) -> None:
        """Show a reference curve beside this run: in TensorBoard, and after each validation's line."""
        self.reference = curve
        self.attempt("TensorBoard", lambda: curve.write_events(self.folder))

    def beside_reference(self, values: Mapping[str, float], step: int) -> str:
        """What the reference curve had at this step, in words; empty without one."""
        return self.reference.beside(values, step) if self.reference else ""

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        """One line of metrics.jsonl, and one point in each tracker for each value."""
        self.attempt(METRICS, lambda: self._append({"step": step, "split": split} | dict(values)))
        self._track(split, values, step)

    def _track(self, split: str, values: Mapping[str, float], step: int) -> None:
        prefix = FINAL_TAGS.get(split, f"{split}/")
        self._to_all(lambda tracker: tracker.scalars({prefix + name: value for name, value in values.items()}, step))

    def _to_all(self, write: Callable[[Logger], None]) -> None:
        for name, tracker in self._trackers.items() if self._is_open else ():
            self.attempt(name, functools.partial(write, tracker))

    def to_tensorboard(self, write: Callable[[Any], Any]) -> None:
        """Call `write` with the SummaryWriter, as long as that works: for what no other tracker has."""
        if self._is_open:
            self.attempt("TensorBoard", lambda: write(self._tensorboard.writer))

    def attempt(self, sink: str, write: Callable[[], None]) -> None:
        """Call `write`, unless this process does not log, or it has failed for this sink before."""
        if not self._is_on or sink in self._off:
            return
        try:
            write()
        except (OSError, RuntimeError) as error:
            self._off.add(sink)
            logger.warning("warning: %s cannot be written (%s); continuing without it", sink, error)

    def report(self, report: Mapping[str, Any], step: int) -> None:
        """The final metrics as scalars, the confusion matrix as an image."""
        for split in ("valid", "test"):
            if not (result := report.get(split)):
                continue
            values = {name: value for name, value in result.items() if isinstance(value, float)}
            values.pop("majority_accuracy", None)  # a property of the data, not of the run
            self.scalars(FINAL[split == "test"], values, step)
        for split in ("valid", "test"):
            if matrix := (report.get(split) or {}).get("confusion_matrix"):
                self._add_image(f"{split}/confusion_matrix", matrix, step)

    def _add_image(self, tag: str, matrix: Mapping[str, Any], step: int) -> None:
        self._to_all(lambda tracker: tracker.image(tag, draw_matrix(**matrix), step))
        names = zip(drawable(matrix["labels"]), matrix["labels"], strict=True)
        if legend := [(name, label) for name, label in names if name != label]:
            self.table(f"{tag}_legend", ["number", "label"], legend, step)

    def mistakes(self, split: str, lines: Sequence[Mapping[str, Any]], fields: Sequence[str], step: int) -> None:
        """A table of the first predictions of `lines`, each with the probability of its most probable label."""
        rows = []
        for line in lines[:MAX_MISTAKES]:
            texts = line.get("fields", line)  # see datasets/rows/predictions.py
            confidence = f"{max(line['probabilities'].values()):.4f}"
            text = " / ".join(str(texts[field]) for field in fields)
            rows.append((line["id"], line["gold"], line["predicted"], confidence, text))
        if not rows:  # instead of a table without rows
            self._to_all(lambda tracker: tracker.text(f"{split}/mistakes", "no mistakes", step))
            return
        columns = ["id", "gold", "predicted", "confidence", "text"]
        self.table(f"{split}/mistakes", columns, rows, step, num_short=len(columns) - 1)

    def table(
        self, tag: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int, *, num_short: int = 0
    ) -> None:
        """A Markdown table in the trackers; what looks like markup in a cell is shown as it is.

        num_short: the first columns, whose words a long last one does not squeeze
        """
        cells = [[*map(_unbroken, row[:num_short]), *map(markdown_cell, row[num_short:])] for row in (columns, *rows)]
        cells.insert(1, ["---"] * len(columns))
        text = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        self._to_all(lambda tracker: tracker.text(tag, text, step))

    @property
    def events_folder(self) -> Path:
        """Where TensorBoard's files are: in the run's folder, whose name it then shows; older runs have a folder `summaries`."""
        old = self.folder / "summaries"
        return old if old.is_dir() else self.folder

    def flush(self) -> None:
        """Flush TensorBoard: before a checkpoint, since a resume writes only what comes after it."""
        self.to_tensorboard(lambda writer: writer.flush())

    def close(self) -> None:
        """Close every sink."""
        self.closing.close()
        self._to_all(lambda tracker: tracker.finish())
        self._is_open = False
        logger.removeHandler(self._handler)

    def _drop_after(self, step: int, *, is_validated: bool) -> list[dict[str, Any]]:
        """Keep the lines up to `step`; the final metrics are written again at the end.

        -> the split and the numbers of each line of `step` itself.
        """
        if not self._metrics_path.exists():
            return []
        lines = [(line, metrics_line(line)) for line in self._metrics_path.read_bytes().splitlines()]
        known = [(line, at) for line, at in lines if at is not None and at["step"] <= step and at["split"] not in FINAL]
        kept = [(line, at) for line, at in known if is_validated or at["step"] < step or at["split"] != "valid"]
        whole = b"".join(line + b"\n" for line, _ in kept)  # a torn line end is repaired, too
        atomic_write(self._metrics_path, whole)
        return [_numbers_of(values) for _, values in kept if values["step"] == step]

    def _append(self, values: dict[str, Any]) -> None:
        with self._metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def markdown_cell(value: Any) -> str:
    """A value as a cell of a Markdown table shows it: punctuation, which may be markup, as entities, controls as escapes."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    plain = printable(" ".join(text.split()))[:MAX_CELL]
    return re.sub(r"[\\`*_{}\[\]()#!|<>~&^]", lambda match: f"&#{ord(match[0])};", plain)


def _unbroken(value: Any) -> str:
    """A cell that stays on one line, unless it is long: TensorBoard breaks words anywhere to give a long column its width."""
    cell = markdown_cell(value)
    return f"<pre>{cell}</pre>" if len(cell) <= MAX_UNBROKEN else cell


def set_up_console(*, is_on: bool = True) -> None:
    """Log to stderr, one plain line per message; stdout is for results. is_on: False on ranks that do not log."""
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())
        threading.excepthook = functools.partial(_thread_failed, threading.excepthook)
    logger.setLevel(logging.INFO if is_on else logging.CRITICAL)
    logger.propagate = False


def _thread_failed(tell: Callable[[Any], Any], failure: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread passes its error on to the next call, which warns of it; a traceback would add nothing."""
    if not type(failure.thread).__module__.startswith("tensorboard."):
        tell(failure)


class _StderrHandler(logging.Handler):
    """Prints to the current sys.stderr, which a notebook or a test may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone does not end the run
            print(printable(record.getMessage()), file=sys.stderr)


class _FileHandler(logging.Handler):
    """Appends timestamped lines to a file, opening it for each: it may be moved, or its disk full."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(record.getMessage())}\n"
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)


def _numbers_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The split of a metrics line, and its numbers but for the step."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float) and name != "step"}
    return {"split": values["split"]} | numbers
