"""A process of a run as the others see it: which one it is, and whether it lives."""

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

DEAD = ("", "Z", "X")  # states of a process, see `_state`
HALTED = ("T", "t")


@dataclass(frozen=True)
class Process:
    """A process by its rank in the run, and its number on its machine."""

    rank: int
    pid: int
    host: str

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid} on {self.host})"

    @property
    def is_here(self) -> bool:
        """Whether it is one of this machine; of others nothing can be seen."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be gone."""
        return self.is_here and _state(self.pid) in DEAD

    @property
    def is_halted(self) -> bool:
        """Whether it is known to have been stopped, as by SIGSTOP."""
        return self.is_here and _state(self.pid) in HALTED

    def kill(self) -> None:
        """End it at once; one that is halted hears nothing else."""
        os.kill(self.pid, signal.SIGKILL)


def _state(pid: int) -> str:
    """The letter of a process' state, as Linux gives it; empty where there is none, `?` where only that can be told."""
    if not Path("/proc/self/stat").exists():
        return "?" if _is_running(pid) else ""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
