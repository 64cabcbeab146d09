"""torchrun's SIGTERM in the very moment in which a process notices that another one has died: the death is still what is reported."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from utils.distributed import shutdown
from utils.errors import DistributedError, Stopped
from utils.machine import signals


class FakePeers:
    """Those of a process that has lost rank 0."""

    rank, size, is_told, has_left = 1, 2, False, False

    def join(self) -> None: ...

    def dead(self) -> str:
        return "rank 0 (process 7 on here) has died"

    gone = dead

    def may_tell(self) -> bool:
        return True

    def leave(self) -> None:
        self.has_left = True


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    old = {number: signal.getsignal(number) for number in (*signals.ENDING, signal.SIGALRM)}
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("failing", [RuntimeError("gloo: Connection closed"), None])
def test_a_signal_beside_the_end_does_not_hide_a_death(
    monkeypatch: pytest.MonkeyPatch, failing: RuntimeError | None
) -> None:
    peers: Any = FakePeers()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(shutdown, "connect", lambda timeout: peers)
    monkeypatch.setattr(shutdown, "refuse_loopback", lambda peers: None)
    real, calls = signals.ignore, []

    def ignore() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Stopped("stopped by SIGTERM", signal.SIGTERM)
        real()

    monkeypatch.setattr(signals, "ignore", ignore)

    def lost() -> None:
        with signals.installed(), shutdown.together():
            if failing is not None:
                raise failing

    with pytest.raises(DistributedError, match=r"rank 1: rank 0 .* has died; run the same command"):
        lost()
    assert peers.has_left
    os.kill(os.getpid(), signal.SIGTERM)  # before main.py has printed the error: ignored


class Finalizer:
    """Python drops what is raised while it does away with an object; the signal is raised again by an alarm."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_that_python_has_dropped_does_not_interrupt_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowPeers(FakePeers):
        def dead(self) -> str:
            time.sleep(0.1)  # longer than the alarm
            return super().dead()

        gone = dead

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(shutdown, "connect", lambda timeout: SlowPeers())
    monkeypatch.setattr(shutdown, "refuse_loopback", lambda peers: None)

    def lost() -> None:
        with signals.installed(), shutdown.together():
            Finalizer()
            raise RuntimeError("gloo: Connection closed")

    with pytest.raises(DistributedError, match=r"rank 1: rank 0 .* has died"):
        lost()
