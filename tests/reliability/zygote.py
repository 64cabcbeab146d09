"""A process that has imported torch and this project once, and forks a run of main.py for every request.

A run then costs a second instead of six. Started by lab.py, which talks to it by lines of JSON: {"start": {...}} gives a pid,
{"wait": pid, "timeout": seconds} an exit status (null: still running), {"import": module} takes that module along, too. Nothing here uses a thread or torch's pool, which a fork
would not take along. It ends, with every run that is still there, when its standard input does.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import faults
import poison
import torch
import torch.utils.tensorboard

import agents
import main
from utils.errors import Stopped
from utils.machine import signals
from utils.runs import run_log

HOOKS = (agents, run_log)  # imported for what they bring along
pids: set[int] = set()


def warm_up(*modules: str) -> None:
    """Import what torch imports at its first use, and what all runs to come need besides."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    for module in ("datasets.store.store", *modules):
        importlib.import_module(module)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread would be lost in a fork"


def start(request: dict[str, Any]) -> int:
    """Fork a run of its own session; -> its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT):  # as from the first moment of main()
                signal.signal(number, signals.handle)
            code = run(request)
        except Stopped as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    pids.add(pid)
    return pid


def run(request: dict[str, Any]) -> int:
    """In the child: its folder, its output, its faults, and the program."""
    os.chdir(request["cwd"])
    for number, name in ((1, request["out"]), (2, request["err"])):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.update(request["env"])
    for name, values in request["faults"].items():
        (getattr(faults, name, None) or getattr(poison, name))(**values)
    return main.main(request["arguments"])


def wait(pid: int, timeout: float) -> int | None:
    """The exit code as subprocess gives it, negative for a signal; None where the run goes on."""
    deadline = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            pids.discard(pid)
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)


def serve() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in requests:
        request = json.loads(line)
        if "start" in request:
            answer = start(request["start"])
        elif "wait" in request:
            answer = wait(request["wait"], request["timeout"])
        else:
            answer = warm_up(request["import"])
        print(json.dumps(answer), file=replies, flush=True)
    for pid in pids:
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    faulthandler.enable()
    warm_up()
    serve()
