"""Starting runs as processes of their own, several at a time; a signal to this one reaches them once, and it waits for them."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.errors import GlassboxError, printable
from utils.machine import signals
from utils.machine.signals import ONE_SIGNAL

MAIN = Path(__file__).parents[2] / "main.py"
POLL = 0.1  # seconds between two looks at the processes

logger = logging.getLogger("glassbox")


class Job(NamedTuple):
    """A command of main.py: its words; name: what its lines are marked with."""

    name: str
    words: Sequence[str]


class JobFailed(GlassboxError):
    """A started command has failed; its exit code is this one's, too."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_all(jobs: Sequence[Job], environments: Sequence[Mapping[str, str]] = ({},)) -> None:
    """Run all jobs, as many at a time as there are environments; what each adds to a process' own is used by one job at a time.

    What they write to stderr is logged with their names, their stdout is dropped. After a failure those that run are waited for and
    no other is started. Raises JobFailed with the first failure's exit code, and Stopped once all have obeyed a signal to this
    process; a second one kills them.
    """
    waiting, running, free = deque(jobs), list[_Process](), list(environments)
    failed: _Process | None = None
    told: int | None = None
    with (
        signals.graceful()
    ):  # a first signal is noted, and so never comes between the start of a process and its place in the list
        try:
            while running or (waiting and failed is None and told is None):
                while waiting and free and failed is None and signals.received() is None:
                    running.append(_Process(waiting.popleft(), free.pop(0)))
                if told is None and (told := signals.received()) is not None:
                    for process in running:
                        process.send(told)
                time.sleep(POLL)
                ended = [process for process in running if process.has_ended()]
                failed = failed or next((process for process in ended if process.code), None)
                free += [process.environment for process in ended]
                running = [process for process in running if process not in ended]
        finally:
            for process in running:
                process.kill()
        if told is not None:
            signals.leave("the runs are saved; run the same command to resume")
    if failed is not None:
        left = f"; {len(waiting)} not started" if waiting else ""
        raise JobFailed(f"{failed.job.name} ended with exit code {failed.code}: {failed.last}{left}", failed.code)


class _Process:
    """A job in a session of its own, so that Ctrl-C in the terminal reaches it through us alone, and it heeds one signal only."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job, self.environment, self.last, self.code = job, environment, "", 0
        self.process = subprocess.Popen(
            [sys.executable, str(MAIN), *job.words],
            env={**os.environ, ONE_SIGNAL: "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.last = printable(line.rstrip("\n"))
            logger.info("%s: %s", self.job.name, self.last)

    def has_ended(self) -> bool:
        if self.process.poll() is None:
            return False
        self.reader.join(timeout=5.0)
        self.code = self.process.returncode if self.process.returncode >= 0 else 128 - self.process.returncode
        return True

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it where it is left over, by a second signal or an error of ours."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
