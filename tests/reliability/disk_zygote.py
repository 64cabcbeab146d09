"""A process that has imported everything once, and forks the program for each case: 20 ms a start instead of 4 s.

As a script it reads cases from stdin, one JSON object a line, and answers each with how its process ended. It never runs anything of
torch itself, since a fork after the first parallel region may hang.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """How a case ended. code: the exit code, or minus the signal that killed it; seconds: of a core, as the machine may be busy."""

    code: int
    seconds: float
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line on stderr."""
        return (self.err.strip().splitlines() or [""])[-1]


class Zygote:
    """Starts cases, one at a time."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/reliability")])
        command = [sys.executable, str(Path(__file__).resolve())]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, place: Path, *arguments: str, timeout: float = 60, **setups: Any) -> Ended:
        """`python main.py ARGUMENTS` in a folder. setups: {function of disk_setups: its arguments}, called before, in this order.

        A first argument that begins with "call:" is a function of a test module to call instead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        logs = [place.parent / f"{place.name}.{name}" for name in ("out", "err")]
        case = {
            "place": str(place),
            "arguments": arguments,
            "setups": setups,
            "logs": [*map(str, logs)],
            "timeout": timeout,
        }
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Ended(*answer, *(log.read_text(errors="replace") for log in logs))

    def close(self) -> None:
        """End the zygote."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


def serve() -> None:
    """Import, then fork for every line."""
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401

    import agents  # noqa: F401
    import main  # noqa: F401

    for line in sys.stdin:
        case = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(case)
        print(json.dumps(_wait(pid, time.monotonic() + case["timeout"])), flush=True)


def _wait(pid: int, deadline: float) -> tuple[int, float]:
    """-> (exit code, seconds of a core); what hangs is killed."""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)


def _child(case: dict[str, Any]) -> None:
    """In the fork: the case, with its own output files, and no way back."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, log in enumerate(case["logs"], 1):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        os.chdir(case["place"])
        import disk_setups

        import main

        for name, arguments in case["setups"].items():
            getattr(disk_setups, name)(*arguments)
        first, *rest = case["arguments"]
        if first.startswith("call:"):
            module, _, function = first.removeprefix("call:").partition(".")
            code = getattr(importlib.import_module(module), function)(*rest)
        else:
            code = main.main(case["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 2
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    serve()
