"""Ctrl-C, SIGTERM and SIGHUP: the first is noted while a loop watches for it, every other one ends the work at once."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from utils.errors import DataError, Stopped
from utils.machine import signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    with signals.installed():
        yield


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def loop(work: Callable[[], object]) -> None:
    with signals.graceful():
        work()


@pytest.fixture(autouse=True)
def _hangup() -> Iterator[None]:
    """SIGHUP as a terminal's program has it, also where the tests run under nohup."""
    old = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, old)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_without_a_loop_a_signal_leaves_at_once(number: int, code: int) -> None:
    with pytest.raises(
        Stopped,
        match=f"^stopped by {signal.Signals(number).name}; run the same command to resume from the last checkpoint, if there is one$",
    ) as caught:
        send(number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_loop_notes_the_first_signal_and_leaves_when_it_is_ready(number: int, code: int) -> None:
    with signals.graceful():
        assert signals.received() is None
        send(number)
        assert signals.received() == number
        with pytest.raises(Stopped, match=f"^stopped by {signal.Signals(number).name}: saved$") as caught:
            signals.leave("saved")
    assert caught.value.exit_code == code
    assert signals.received() is None


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_is_never_a_second_signal(number: int) -> None:
    """Its SIGHUP comes from the kernel and from the shell."""
    with signals.graceful():
        send(number)
        send(signal.SIGHUP)
        assert signals.received() == number
        with pytest.raises(Stopped, match="saved"):
            signals.leave("saved")


def test_an_ignored_hangup_stays_ignored() -> None:
    """As nohup starts a command."""
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.installed():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_second_signal_does_not_wait_for_the_loop() -> None:
    reached: list[bool] = []
    with pytest.raises(Stopped) as caught:
        loop(lambda: (send(signal.SIGTERM), send(signal.SIGINT), reached.append(True)))
    assert caught.value.exit_code == 130
    assert not reached
    with signals.graceful():
        assert signals.received() is None, "the next loop begins with none"


def test_a_signal_after_the_last_look_is_not_forgotten() -> None:
    with pytest.raises(Stopped, match="the training is saved") as caught:
        loop(lambda: send(signal.SIGTERM))
    assert caught.value.exit_code == 143


class Finalizer:
    """Python drops what is raised while it does away with an object."""

    def __del__(self) -> None:
        send(signal.SIGTERM)


@pytest.mark.parametrize("is_one_of_many", [False, True])
def test_a_signal_that_python_drops_comes_again(capsys: pytest.CaptureFixture[str], is_one_of_many: bool) -> None:
    def work() -> None:
        if is_one_of_many:
            signals.only_the_first()
        time.sleep(5.0 if Finalizer() else 0.0)

    started = time.monotonic()
    with pytest.raises(Stopped, match="SIGTERM"), signals.installed():
        work()
    assert time.monotonic() - started < 2.0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGINT])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_signal_while_one_is_repeated_is_not_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, is_before: bool
) -> None:
    """Two workers are forked, Ctrl-C reaches both forks, and the alarm of the first rings while the second sets its own."""
    real, calls = signal.setitimer, []

    def setitimer(which: int, seconds: float) -> None:
        calls.append(seconds)
        for step in ("signal", "alarm") if is_before else ("alarm", "signal"):
            if step == "alarm":
                real(which, seconds)
            elif len(calls) == 1:
                send(number)

    def work() -> None:
        monkeypatch.setattr(signal, "setitimer", setitimer)
        time.sleep(5.0 if Finalizer() else 0.0)

    with pytest.raises(Stopped, match="SIGTERM"), signals.installed():
        work()
    assert capsys.readouterr().err == ""
    assert len(calls) >= 2


def test_an_error_in_the_wake_of_a_signal_is_told_as_the_signal() -> None:
    def work() -> None:
        with contextlib.suppress(Stopped):
            send(signal.SIGINT)
        raise DataError("a tokenising process was killed")

    with pytest.raises(Stopped, match="SIGINT"), signals.installed():
        work()


class Failing:
    def __del__(self) -> None:
        raise AttributeError("half done")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_python_drops_is_told_but_in_the_wake_of_a_signal() -> None:
    def work() -> None:
        Failing()
        assert told == ["half done"]
        with contextlib.suppress(Stopped):
            send(signal.SIGTERM)
        Failing()
        raise DataError("also half done")

    told: list[str] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda dropped: told.append(str(dropped.exc_value))
    try:
        with pytest.raises(Stopped), signals.installed():
            work()
    finally:
        sys.unraisablehook = before
    assert told == ["half done"]


def test_an_error_without_a_signal_is_told_as_it_is() -> None:
    with pytest.raises(DataError, match="killed"), signals.installed():
        raise DataError("a tokenising process was killed")


def test_an_error_in_the_loop_is_told_and_not_the_signal() -> None:
    with pytest.raises(ZeroDivisionError):
        loop(lambda: (send(signal.SIGTERM), 1 / 0))
    with signals.graceful():
        assert signals.received() is None


def test_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with signals.installed():
        assert signal.getsignal(signal.SIGTERM) is signals.handle
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_installed() -> None:
    seen = []

    def work() -> None:
        with signals.installed():
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
