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
from typing import Any, NamedTuple

from utils.config.config import RUNS
from utils.errors import GlassboxError, printable
from utils.machine import signals
from utils.machine.signals import ONE_SIGNAL
from utils.runs.saved import CONFIG

MAIN = Path(__file__).parents[2] / "main.py"
POLL = 0.1  # seconds between two looks at the processes

logger = logging.getLogger("glassbox")


class Job(NamedTuple):
    """A command of main.py: its words; name: what its lines are marked with."""

    name: str
    words: Sequence[str]


def job_of(config: Mapping[str, Any], name: str, words: Sequence[str], num_threads: int | None) -> Job:
    """The job of a run of that name; words: its config and overrides; num_threads: of a new run, None as it chooses."""
    is_new = "--fresh" in words or not (RUNS / name / CONFIG).exists()  # else the run keeps its number
    threads = num_threads if config["num_threads"] == "auto" and is_new else None
    return Job(name, [*words, f"name={name}", *([f"num_threads={threads}"] if threads else [])])


class JobFailed(GlassboxError):
    """A started command has failed; its exit code is this one's, too."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Queue:
    """What is to be run: here jobs in order, of which no other begins after a failure.

    is_quiet: whether the log leaves out what the processes say, which is in their runs' own logs
    """

    is_quiet = False

    def __init__(self, jobs: Sequence[Job] = ()) -> None:
        self.waiting, self.failed = deque(jobs), list["Process"]()

    @property
    def is_over(self) -> bool:
        """Whether no more jobs will come."""
        return not self.waiting or bool(self.failed)

    def take(self) -> Job | None:
        """The next job, where one can begin now."""
        return self.waiting.popleft()

    def look(self, process: "Process") -> None:
        """Called for each process a few times a second."""

    def ended(self, process: "Process") -> None:
        """Called with each process that has ended."""
        self.failed += [process] * (process.code != 0)

    def close(self) -> None:
        """Called once all have ended. Raises JobFailed with the first failure's exit code."""
        if self.failed:
            process, left = self.failed[0], f"; {len(self.waiting)} not started" if self.waiting else ""
            words = f"{process.job.name} ended with exit code {process.code}: {process.last}{left}"
            raise JobFailed(words, process.code)


def run_all(queue: Queue, environments: Sequence[Mapping[str, str]] = ({},)) -> None:
    """Run the jobs of a queue, as many at a time as there are environments; what each of those adds to a process' own, one job has.

    What they write to stderr is logged with their names, unless the queue is quiet, their stdout is dropped. Raises what the
    queue's `close` raises, and Stopped once all have obeyed a signal to this process; a second one kills them.
    """
    running, free = list[Process](), list(environments)
    told: int | None = None
    with (
        signals.graceful()
    ):  # a first signal is noted, and so never comes between a process' start and its place in the list
        try:
            while running or (told is None and not queue.is_over):
                while free and told is None and signals.received() is None and not queue.is_over:
                    if (job := queue.take()) is None:
                        break
                    running.append(Process(job, free.pop(0), is_quiet=queue.is_quiet))
                if told is None and (told := signals.received()) is not None:
                    for process in running:
                        process.send(told)
                time.sleep(POLL)
                ended = [process for process in running if process.has_ended()]
                for process in running:
                    (queue.ended if process in ended else queue.look)(process)
                free += [process.environment for process in ended]
                running = [process for process in running if process not in ended]
        finally:
            for process in running:
                process.kill()
        if told is not None:
            signals.leave(f"the runs are saved; {signals.same_command()} to resume")
    queue.close()


class Process:
    """A job in a session of its own, so that Ctrl-C in the terminal reaches it through us alone, and it heeds one signal only."""

    def __init__(self, job: Job, environment: Mapping[str, str], *, is_quiet: bool = False) -> None:
        self.job, self.environment, self.last, self.code = job, environment, "", 0
        self.level = logging.DEBUG if is_quiet else logging.INFO
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
            logger.log(self.level, "%s: %s", self.job.name, self.last)

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
