"""Torchrun itself, as a user starts it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from lab import Lab

started: list["Torchrun"] = []


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    """End what a failed test has left running."""
    yield
    while started:
        started.pop().kill()


class Torchrun:
    """A started torchrun, in a session of its own; `on`: what starts it on another machine, `words`: more of the command line."""

    def __init__(
        self,
        lab: Lab,
        name: str,
        *options: str,
        env: dict[str, str] | None = None,
        on: Sequence[str] = (),
        words: Sequence[str] = (),
    ) -> None:
        started.append(self)
        self.errors = lab.folder / f"{name}-{time.monotonic_ns()}.err"
        words = ["bilstm.yaml", f"name={name}", f"data.cache_folder=.cache-{name}", *words]
        command = [*on, sys.executable, "-m", "torch.distributed.run", *options, str(ROOT / "main.py"), *words]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=lab.folder, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)} | (env or {}), start_new_session=True,
            )  # fmt: skip

    def workers(self) -> list[int]:
        """The processes it has started and that are there, by rank."""
        children = read(f"/proc/{self.process.pid}/task/{self.process.pid}/children").split()
        return sorted(int(pid) for pid in children if "main.py" in read(f"/proc/{pid}/cmdline"))

    def end(self, timeout: float = 120.0) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        try:
            out, _ = self.process.communicate(timeout=timeout)
        finally:
            self.kill()
        return self.process.returncode, out, self.errors.read_text()

    def kill(self) -> None:
        """All that is left of it."""
        for pid in [*self.workers(), self.process.pid] if self.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)


def read(path: str) -> str:
    """What stands in a file of /proc; nothing where the process has gone."""
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""


def wait_for(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def is_saved(lab: Lab, name: str) -> bool:
    return any(lab.path(name).glob("checkpoints/step-*"))


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ours(errors: str) -> list[str]:
    """The lines of stderr that are not torchrun's."""
    return [line for line in errors.splitlines() if line.startswith(("rank ", "stopped", "Traceback"))]
