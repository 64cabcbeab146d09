"""Ctrl-C and SIGTERM: the first one asks the loop to finish its step and save, a second one leaves at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from utils.errors import Stopped

_received: list[int] = []
_is_graceful: list[bool] = []


def handle(number: int, frame: FrameType | None) -> None:
    """Note the first signal while a loop watches for it; leave at once otherwise. A save under way is whole or absent."""
    if _is_graceful and not _received:
        _received.append(number)
        return
    name = signal.Signals(number).name
    raise Stopped(f"stopped by {name}; the same command goes on from the last checkpoint, if there is one", number)


@contextmanager
def installed() -> Iterator[None]:
    """Handle SIGINT and SIGTERM so while the block runs; in a thread other than the main one this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old: dict[int, Callable[..., Any] | int | None] = {
        n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def graceful() -> Iterator[None]:
    """While the block runs, a first signal is only noted: ask `received`."""
    _received.clear()
    _is_graceful.append(True)
    try:
        yield
    finally:
        _is_graceful.clear()
    if _received:  # it came after the last step had looked
        leave("the training is saved; the same command writes the report")


def leave(message: str) -> NoReturn:
    """End the process as the received signal asks. Raises Stopped."""
    number = _received.pop()
    raise Stopped(f"stopped by {signal.Signals(number).name}: {message}", number)


def received() -> int | None:
    """The number of the signal that asks for an end, or None."""
    return _received[0] if _received else None
