"""The trials of a study as a queue of jobs: start them, report their validations, prune them, and record how they end."""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from utils.config.config import RUNS
from utils.errors import CheckpointError
from utils.files.sealed import read_sealed
from utils.machine import signals
from utils.runs.launching import Job, JobFailed, Process, Queue
from utils.runs.saved import REPORT, metrics_of
from utils.search.study import Owned, Study

POLL = 1.0  # seconds between two looks at the storage and at the validations
MAX_STARTS = 5  # of a trial whose run is killed
MAX_FAILURES = 3  # of the first trials, after which the sweep ends
STOPPED = [128 + number for number in signals.ENDING]
RESUMED = (128 + signal.SIGKILL, 5)  # killed, as for want of memory; and storage

logger = logging.getLogger("glassbox")


class Trials(Queue):
    """A study's trials. Raises JobFailed where the first ones all fail."""

    is_quiet = True

    def __init__(self, study: Study, monitor: str, job_of: Callable[[Owned], Job]) -> None:
        """monitor: the metric that is looked at, with its direction; job_of: the job of a trial's run."""
        super().__init__()
        self.study, self.monitor, self.job_of = study, monitor, job_of
        self.owned, self.pruned = dict[str, Owned](), set[str]()
        self.due, self.ending = dict[str, float](), False

    @property
    def is_over(self) -> bool:
        if self._is_due("over"):
            self.ending = self.study.is_over
        return self.ending or bool(self.failed)

    def take(self) -> Job | None:
        if not self._is_due("take") or (owned := self.study.take()) is None:
            return None
        self.due["take"] = 0.0  # the next one can begin at once
        self.owned[owned.name] = owned
        options = ", ".join(f"{key}={value}" for key, value in owned.options.items())
        logger.info("%s: %s", owned.name, options)
        return self.job_of(owned)

    def look(self, process: Process) -> None:
        """Report new validations, and end a run that is worse than others were."""
        owned = self.owned[process.job.name]
        if not self._is_due(f"look {owned.name}") or owned.name in self.pruned:
            return
        known = self.study.reported(owned)
        for step, value in enumerate(validations(RUNS / owned.name, self.monitor[1:])[known:], start=known + 1):
            owned.trial.report(value, step)
            if owned.trial.should_prune():
                self.pruned.add(owned.name)
                process.send(signal.SIGTERM)  # it saves, and so could go on
                return

    def ended(self, process: Process) -> None:
        """Tell the study, or leave the trial to whoever takes it up."""
        owned, code = self.owned.pop(process.job.name), process.code
        if code == 0:
            value = best_value(RUNS / owned.name)
            self.study.complete(owned, value)
            logger.info("%s: %s %.4f", owned.name, self.monitor[1:], value)
        elif owned.name in self.pruned and code in STOPPED:
            self.study.prune(owned)
            logger.info("%s: ended early", owned.name)
        elif code in STOPPED or (code in RESUMED and owned.starts < MAX_STARTS):
            self.study.release(owned)
        else:
            self.study.fail(owned, process.last)
            logger.warning("warning: %s failed with exit code %d: %s", owned.name, code, process.last)
            if self.study.all_failed(MAX_FAILURES):
                self.failed.append(process)

    def close(self) -> None:
        if self.failed:
            process = self.failed[0]
            raise JobFailed(
                f"sweep: the first {MAX_FAILURES} trials have failed, the last with exit code {process.code}: {process.last}",
                process.code,
            )

    def _is_due(self, what: str) -> bool:
        if (now := time.monotonic()) < self.due.get(what, 0.0):
            return False
        self.due[what] = now + POLL
        return True


def validations(folder: Path, metric: str) -> list[float]:
    """A metric's values at the validations of a run so far."""
    try:
        return [line[metric] for line in metrics_of(folder) if line["split"] == "valid"]
    except FileNotFoundError:
        return []


def best_value(folder: Path) -> float:
    """The monitored metric at the best validation of a finished run."""
    try:
        return float(read_sealed(folder / REPORT)["best"]["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}/{REPORT}: says no best validation ({error})") from None
