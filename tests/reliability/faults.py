"""Faults for a run that zygote.py has forked: they wrap functions of that process, and production code knows nothing of them."""

import errno
import functools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.errors import DataError

UNIQUE = re.compile(r"(\.tmp-[^/]*)-([0-9a-f]{16})(?=/|$)")  # the random end of a temporary name
uniques: dict[str, str] = {}  # the last one of each name
DIED = 137  # the exit code of a fault, that of a kill -9 in a shell


def watch_disk(tell: Callable[[str], None]) -> None:
    """Call `tell` before all that is asked of the disk below this folder: "open NAME", "fsync NAME", "rename OLD NEW", ..."""
    root = str(Path.cwd())
    ours = os.getpid()

    def name_of(path: Any) -> str:
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
        name = name.removeprefix(root + "/")
        if match := UNIQUE.search(name):
            uniques[match[1]] = match[2]
        return UNIQUE.sub(r"\1", name)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if os.getpid() != ours or threading.current_thread() is not threading.main_thread():
            return  # a worker, or TensorBoard's thread
        if event == "open":
            path, mode, _ = arguments
            if isinstance(mode, str) and set(mode) & set("wax+") and not str(path).startswith("/dev"):
                tell(f"open {name_of(path)}")
        elif event == "os.rename":
            tell(f"rename {name_of(arguments[0])} {name_of(arguments[1])}")
        elif event in ("os.mkdir", "os.remove", "os.rmdir"):
            tell(f"{event.removeprefix('os.')} {name_of(arguments[0])}")

    fsync = os.fsync

    def told_fsync(descriptor: int) -> None:
        tell(f"fsync {name_of(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    sys.addaudithook(hook)
    os.fsync = told_fsync


def record(to: str) -> None:
    """Append all that is asked of the disk to a file, as JSON lines."""
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    watch_disk(lambda event: os.write(descriptor, json.dumps(event).encode() + b"\n") and None)


def before_event(pattern: str, n: int, act: Callable[[str], object]) -> None:
    """Call `act` with the n-th event of the disk that the pattern fits, before it happens."""
    seen = 0

    def tell(event: str) -> None:
        nonlocal seen
        if re.fullmatch(pattern, event):
            seen += 1
            if seen == n:
                act(event)

    watch_disk(tell)


def die_at(pattern: str, n: int = 1, tear: bool = False) -> None:
    """Die before the n-th event of the disk that the pattern fits; `tear`: with half of the file that it is about."""

    def die(event: str) -> None:
        if tear:
            path = torn(event)
            os.truncate(path, path.stat().st_size // 2)
        os._exit(DIED)

    before_event(pattern, n, die)


def signal_at(pattern: str, number: int, n: int = 1) -> None:
    """This process gets a signal before the n-th event of the disk that the pattern fits."""
    before_event(pattern, n, lambda event: os.kill(os.getpid(), number))


def signal_at_fork(number: int, is_in_child: bool) -> None:
    """This process gets a signal while it forks, and the new one, too."""

    def send() -> None:
        os.kill(os.getpid(), number)

    os.register_at_fork(after_in_parent=send, after_in_child=send if is_in_child else lambda: None)


def torn(event: str) -> Path:
    """The file of an event about a temporary file, whose name ends in random letters."""
    name = event.split()[1]
    return Path(re.sub(r"(\.tmp-[^/]*)", lambda match: f"{match[1]}-{uniques[match[1]]}", name))


def wrap(place: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put make(function) in the place of a function: "module:name" or "module:Class.name"."""
    module, _, names = place.partition(":")
    *owners, name = names.split(".")
    owner: Any = functools.reduce(getattr, owners, sys.modules[module])
    setattr(owner, name, make(getattr(owner, name)))


def die_in(place: str, n: int = 1, after: bool = False) -> None:
    """Die at the n-th call of a function, before it or after it."""
    at_call(place, n, lambda: os._exit(DIED), after=after)


def signal_in(place: str, numbers: list[int], n: int = 1, after: bool = False) -> None:
    """This process gets signals at the n-th call of a function."""
    at_call(place, n, lambda: [os.kill(os.getpid(), number) for number in numbers], after=after)


def at_call(place: str, n: int, do: Callable[[], Any], *, after: bool = False) -> None:
    """Do something at the n-th call of a function."""
    seen = 0

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            is_now = seen == n
            if is_now and not after:
                do()
            result = function(*arguments, **options)
            if is_now and after:
                do()
            return result

        return call

    wrap(place, make)


def refuse_in(place: str, message: str, n: int = 1) -> None:
    """The n-th call of a function raises a DataError."""

    def refuse() -> None:
        raise DataError(message)

    at_call(place, n, refuse, after=False)


def assign(values: dict[str, Any]) -> None:
    """Give names of modules other values: {"datasets.store.store:SMALL": 0}."""
    for place, value in values.items():
        wrap(place, lambda _, value=value: value)


def slow(place: str, seconds: float) -> None:
    """Every call of a function takes longer."""
    wrap(
        place, lambda function: lambda *arguments, **options: (time.sleep(seconds), function(*arguments, **options))[1]
    )


def wait_in(place: str, path: str) -> None:
    """The first call of a function waits until there is a file of that name."""

    def wait() -> None:
        while not Path(path).exists():
            time.sleep(0.01)

    at_call(place, 1, wait)


def fail(place: str, n: int = 1, message: str = "No space left on device") -> None:
    """Every call of a function from the n-th on raises an OSError."""
    seen = 0

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen >= n:
                raise OSError(errno.ENOSPC, message)
            return function(*arguments, **options)

        return call

    wrap(place, make)


def tell_batches(to: str) -> None:
    """Append the step and the rows of every global batch that is trained on to a file."""

    def make(train_step: Callable[..., Any]) -> Callable[..., Any]:
        def call(agent: Any, batches: list[Any]) -> Any:
            rows = [batch.rows.tolist() for batch in batches]
            with Path(to).open("a") as file:
                file.write(json.dumps([agent.state.step + 1, rows]) + "\n")
            return train_step(agent, batches)

        return call

    wrap("agents.base:BaseAgent.train_step", make)


def tell_calls(place: str, to: str) -> None:
    """Append a sign to a file at each call of a function."""

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with Path(to).open("a") as file:
                file.write(".")
            return function(*arguments, **options)

        return call

    wrap(place, make)


def tell_size(to: str, every: int) -> None:
    """Append to a file, every so many steps, how much memory and how many files, threads and processes the run holds."""

    def make(finish_step: Callable[..., Any]) -> Callable[..., Any]:
        def call(agent: Any) -> None:
            finish_step(agent)
            if agent.state.step and agent.state.step % every == 0:
                with Path(to).open("a") as file:
                    file.write(json.dumps({"step": agent.state.step, **size()}) + "\n")

        return call

    wrap("agents.base:BaseAgent.finish_step", make)


def size() -> dict[str, float]:
    """What this process holds; memory in MB."""
    process = Path("/proc/self")
    return {
        "rss": int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20,
        "files": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "children": len((process / "task" / str(os.getpid()) / "children").read_text().split()),
    }


def stdin_from(path: str) -> None:
    """Standard input is this file."""
    os.dup2(os.open(path, os.O_RDONLY), 0)
