"""Ctrl-C and SIGTERM: the first one asks the loop to finish its step and save, a second one leaves at once."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from utils.errors import Stopped

_received: list[int] = []
_is_graceful: list[bool] = []
_raised: list[int] = []  # the signals that ended something at once
_owner: list[int] = []  # the process whose signals these are; its workers begin as copies of it
_first: list[int] = []  # the first signal, where it is the only one that counts; begun with a 0 by `only_the_first`


def handle(number: int, frame: FrameType | None) -> None:
    """Note the first signal while a loop watches for it; leave at once otherwise. A save under way is whole or absent."""
    if _owner and _owner[0] != os.getpid():
        return  # a worker forked a moment ago, which has not yet said what signals mean to it
    if len(_first) > 1:
        return
    if _first:
        _first.append(number)
    _obey(number)


def _obey(number: int) -> None:
    if _is_graceful and not _received:
        _received.append(number)
        return
    _raised.append(number)
    raise _stopped(number)


def _stopped(number: int) -> Stopped:
    name = signal.Signals(number).name
    return Stopped(
        f"stopped by {name}; run the same command to resume from the last checkpoint, if there is one", number
    )


def _repeat(tell: Callable[[Any], Any], dropped: Any) -> None:
    """Raise a Stopped anew that came in a finalizer or in a fork, where Python drops every exception and would go on."""
    if isinstance(dropped.exc_value, Stopped):
        signal.signal(signal.SIGALRM, lambda *_: _obey(_raised[0]))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    elif not _raised:  # else it fails in the wake of a signal, which broke off what was half done
        tell(dropped)


@contextmanager
def installed() -> Iterator[None]:
    """Handle SIGINT and SIGTERM so while the block runs; in a thread other than the main one this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old: dict[int, Callable[..., Any] | int | None] = {
        n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)
    }
    old_hook, _owner[:], _raised[:], _first[:] = sys.unraisablehook, [os.getpid()], [], []
    sys.unraisablehook = functools.partial(_repeat, old_hook)
    try:
        yield
    except Exception:
        # In the wake of a signal: it has ended our workers, too, or broke off what was half done.
        if _raised and not _first:
            raise _stopped(_raised[0]) from None
        raise
    finally:
        sys.unraisablehook = old_hook
        if _raised:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in old.items():
            signal.signal(number, handler)


def only_the_first() -> None:
    """Pass over further signals: torchrun sends on what a terminal has sent to its processes already, and ends those that hang."""
    _first[:] = [0]


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
        leave("the training is saved; run the same command to write the report")


def leave(message: str, number: int | None = None) -> NoReturn:
    """End the process as the received signal asks, or as that of another process of the run does. Raises Stopped."""
    number = number or _received[0]
    _received.clear()
    raise Stopped(f"stopped by {signal.Signals(number).name}: {message}", number)


def received() -> int | None:
    """The number of the signal that asks for an end, or None."""
    return _received[0] if _received else None
