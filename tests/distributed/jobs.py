"""Several processes of one run, started as torchrun starts them and ended as it ends them: all, as soon as one has failed."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lab import Lab, Run, preload

GRACE = 30.0  # seconds after which torchrun kills what SIGTERM has not ended (--shutdown-timeout)


@dataclass
class Own:
    """What one process has for itself: arguments, the folder it starts in, faults of faults.py and poison.py."""

    arguments: list[str] = field(default_factory=list)
    folder: Path | None = None
    faults: dict[str, Any] = field(default_factory=dict)


class Job:
    """The processes of one run, by rank."""

    def __init__(self, lab: Lab, size: int, *arguments: str, own: Mapping[int, Own] | None = None) -> None:
        preload("torch._dynamo")  # DistributedDataParallel does, which takes 2 s
        self.store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
        self.runs: list[Run] = []
        for rank in range(size):
            environment = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            mine = (own or {}).get(rank, Own())
            options = {"environment": environment, "folder": mine.folder, **mine.faults}
            self.runs.append(lab.command(*arguments, *mine.arguments, **options))
        self.codes: dict[int, int] = {}
        self.grace = GRACE
        self.seconds = 0.0  # from the first process that ended to the last

    def wait(self, timeout: float = 60.0) -> list[int]:
        """The exit codes by rank. Raises AssertionError where a process is still there after the timeout."""
        deadline, first = time.monotonic() + timeout, 0.0
        while len(self.codes) < len(self.runs):
            for rank, run in enumerate(self.runs):
                if rank not in self.codes and (code := run.wait(0.01)) is not None:
                    self.codes[rank], first = code, first or time.monotonic()
                    if code != 0:
                        self.signal(signal.SIGTERM)
            if first and time.monotonic() - first > self.grace:
                self.signal(signal.SIGKILL)
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise AssertionError(f"still there after {timeout} s: {self.errors}")
        if first:  # else all had been waited for before
            self.seconds = time.monotonic() - first
        print(*self.errors, sep="\n")  # all of it, for a test that fails; pytest shortens what an assertion shows
        return [self.codes[rank] for rank in range(len(self.runs))]

    def signal(self, number: int, *ranks: int) -> None:
        """To the given processes, or to all that are still there."""
        for rank in ranks or range(len(self.runs)):
            if rank not in self.codes:
                os.kill(self.runs[rank].pid, number)

    @property
    def errors(self) -> list[str]:
        """What stands on stderr, by rank."""
        return [run.stderr for run in self.runs]

    @property
    def causes(self) -> list[str]:
        """All lines of all processes that say what ended the run."""
        return [line for text in self.errors for line in text.splitlines() if line.startswith(("rank ", "Traceback"))]


def undisturbed(lab: Lab, size: int) -> dict[str, Any]:
    """The results of a run of so many processes that nothing disturbs."""
    job = Job(lab, size, "bilstm.yaml", "name=control", "data.cache_folder=.cache-control")
    assert job.wait() == [0] * size, job.errors
    return lab.results("control")
