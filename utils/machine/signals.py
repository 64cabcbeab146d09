"""Ctrl-C, SIGTERM and SIGHUP: the first one asks the loop to finish its step and save, a second one exits at once."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from utils.errors import Stopped

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_SIGNAL = "GLASSBOX_ONE_SIGNAL"  # set for a process whose starter passes signals on, and ends it if need be

RESUME = "; {} to resume from the last checkpoint, if there is one"

_command = ["run the same command"]  # which goes on, unless it starts over
_received: list[int] = []
_is_graceful: list[bool] = []
_raised: list[int] = []  # the signals that raised at once
_owner: list[int] = []  # the process that handles signals; its workers start as copies of it
_hung_up: list[int] = []  # SIGHUP, if it has come
_hint: list[str] = []  # what can be done after a signal, added to its message
_first: list[int] = []  # the first signal, if it is the only one that counts; `only_the_first` starts it with a 0


def handle(number: int, frame: FrameType | None) -> None:
    """Record the first signal while a loop watches for it; exit at once otherwise. A save in progress is complete or absent."""
    if _owner and _owner[0] != os.getpid():
        return  # a newly forked worker, which has not yet set its own handlers
    if len(_first) > 1 or (number == signal.SIGHUP and (_received or _raised or _hung_up)):
        return  # both the kernel and the shell send SIGHUP where a terminal is closed
    _hung_up.extend([number] * (number == signal.SIGHUP))
    if _first:
        _first.append(number)
    _obey(number, frame)


def _obey(number: int, frame: FrameType | None) -> None:
    if _is_graceful and not _received:
        _received.append(number)
        return
    _raised.append(number)
    if _is_repeating(frame):  # Python would drop it once more, and the hook may not have set the alarm yet
        _set_alarm()
        return
    raise _stopped(number)


def _is_repeating(frame: FrameType | None) -> bool:
    """Whether the signal has interrupted `_repeat`."""
    while frame is not None and frame.f_code is not _repeat.__code__:
        frame = frame.f_back
    return frame is not None


def _set_alarm() -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: _obey(_raised[0], frame))
    signal.setitimer(signal.ITIMER_REAL, 0.02)


def _stopped(number: int) -> Stopped:
    return Stopped(f"stopped by {signal.Signals(number).name}{''.join(_hint)}", number)


def _repeat(tell: Callable[[Any], Any], dropped: Any) -> None:
    """Re-raise a Stopped raised in a finalizer or a fork, where Python drops every exception and would continue."""
    if isinstance(dropped.exc_value, Stopped):
        _set_alarm()
    elif not _raised:  # else it is a consequence of a signal, which interrupted something
        tell(dropped)


@contextmanager
def installed() -> Iterator[None]:
    """Install the handlers during the block; outside the main thread this does nothing. An ignored SIGHUP stays so, as by nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [n for n in ENDING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    old: dict[int, Callable[..., Any] | int | None] = {n: signal.signal(n, handle) for n in heard}
    old_hook, _owner[:], _raised[:], _first[:] = sys.unraisablehook, [os.getpid()], [], []
    _hung_up.clear()
    _command[:] = ["run the same command"]
    _hint[:] = [RESUME.format(*_command)]
    sys.unraisablehook = functools.partial(_repeat, old_hook)
    if os.environ.get(ONE_SIGNAL):
        only_the_first()
    try:
        yield
    except Exception:
        # A consequence of the signal: it has ended our workers, too, or interrupted something.
        if _raised and not _first:
            raise _stopped(_raised[0]) from None
        raise
    finally:
        sys.unraisablehook = old_hook
        if _raised:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in old.items():
            if signal.getsignal(number) is handle:  # else they are ignored until the process has said why it ends
                signal.signal(number, handler)


def starts_over() -> None:
    """The command has --fresh: what would resume is the same one without it."""
    _command[:] = ["run the same command without --fresh"]
    _hint[:] = [RESUME.format(*_command)]


def same_command() -> str:
    """What to do in order to resume, in words."""
    return _command[0]


def without_hint() -> None:
    """Say nothing of resuming after a signal, for a command that starts over, or says itself how it resumes."""
    _hint.clear()


def only_the_first() -> None:
    """Ignore further signals: who started this process, as torchrun, forwards what it has got already, and kills what hangs."""
    _first[:] = [0]


def ignore() -> None:
    """Ignore all of them from now on, also one that Python has dropped and that would be raised again by the alarm."""
    for _ in range(2):
        with suppress(Stopped):  # one came together with the end, most often for the same reason
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)


@contextmanager
def graceful() -> Iterator[None]:
    """During the block, a first signal is only recorded: see `received`."""
    _received.clear()
    _is_graceful.append(True)
    try:
        yield
    finally:
        _is_graceful.clear()
    if _received:  # it came after the last step had checked
        leave(f"the training is saved; {same_command()} to write the report")


def leave(message: str, number: int | None = None) -> NoReturn:
    """Exit as the received signal asks, or that of another rank. Raises Stopped."""
    number = number or _received[0]
    _received.clear()
    raise Stopped(f"stopped by {signal.Signals(number).name}: {message}", number)


def received() -> int | None:
    """The number of the signal that asks to stop, or None."""
    return _received[0] if _received else None
