"""The other processes of a run: who has come, who is gone, and which one says what ended it.

All of it goes through the store that torchrun keeps (a table of bytes by name, served by one process), by looking again and again:
unlike a collective this can be interrupted, works before the processes are connected, and after one of them is dead.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed.rendezvous import rendezvous

from utils.errors import DistributedError, Stopped, Unsaid
from utils.storage import is_running, unfinished

LOOK, BEAT = 0.05, 2.0  # seconds between two looks, and between two signs of life
ANSWER = 3.0  # seconds that another process has to answer
KNOCK = 10.0  # seconds that the first process has to come before another one, where no torchrun keeps their store
DEAD = ("", "Z", "X")  # states of a process, see `_state`
FAREWELL = 10.0  # seconds that the first process waits for the others to have left
SHOWN = 5.0  # seconds after which a shared folder shows on one machine what another one has written
PATIENCE = 2.0  # seconds that the process in which an error began has to say so


class Peers:
    """The processes of a run by their ranks, this one being `rank`; all have come, and `store` is theirs alone."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.others = [other for other in range(size) if other != rank]
        self.host = socket.gethostname()
        values = (store.get(f"process {other}").decode().partition(" ") for other in range(size))
        self.places = [(int(pid), host) for pid, _, host in values]

    def refuse_different(self, what: str, facts: dict[str, Any], timeout: float) -> None:
        """Raise DistributedError unless all processes have the same facts, which are plain values; nobody goes on before that."""
        if self.rank == 0:
            self.store.set(f"facts {what}", json.dumps(facts))
        self._await([f"facts {what}"], timeout)
        first = json.loads(self.store.get(f"facts {what}"))
        for name in sorted(first.keys() | facts.keys()):
            if first.get(name) != facts.get(name):
                raise DistributedError(
                    f"{name} is {_short(facts.get(name))} here and {_short(first.get(name))} on rank 0"
                )
        self.store.set(f"agreed {what} {self.rank}", "")
        self._await([f"agreed {what} {other}" for other in range(self.size)], timeout)

    def refuse_unshared(self, folder: Path, timeout: float) -> None:
        """Raise DistributedError unless every process sees what the first one writes in the folder."""
        if self.rank == 0:
            token = unfinished(folder / os.urandom(8).hex())
            try:
                token.touch()
                self.store.set("token", token.name)
                self._await([f"seen {other}" for other in self.others], timeout)
            finally:
                token.unlink(missing_ok=True)
            return
        self._await(["token"], timeout)
        token, deadline = folder / self.store.get("token").decode(), time.monotonic() + SHOWN
        while not token.exists():
            self._wait()
            if time.monotonic() > deadline:
                raise DistributedError(
                    f"does not see what rank 0 writes in {folder}; all machines need one shared folder"
                )
        self.store.set(f"seen {self.rank}", "")

    def _await(self, names: list[str], timeout: float) -> None:
        """Wait until the names are in the store."""
        deadline = time.monotonic() + timeout
        while not self.store.check(names):
            self._wait()
            if time.monotonic() > deadline:
                raise self.lost(f"the others do not answer within {timeout:g} s (distributed.timeout)")

    def _wait(self) -> None:
        """A moment. Raises Unsaid where another process has said meanwhile what ended the run."""
        if self.is_told:
            raise Unsaid
        time.sleep(LOOK)

    @contextlib.contextmanager
    def first_alone(self, what: str, timeout: float) -> Iterator[None]:
        """The first process does the block, however long it takes, as long as it gives signs of life; then the others do."""
        if self.rank == 0:
            with self._heart(what):
                yield
            self.store.set(f"done {what}", "")
            return
        last, changed = b"", time.monotonic()
        while not self.store.check([f"done {what}"]):
            self._wait()
            if self.store.check([f"beat {what}"]) and (beat := self.store.get(f"beat {what}")) != last:
                last, changed = beat, time.monotonic()
            if time.monotonic() - changed > timeout:
                raise self.lost(f"rank 0 gives no sign of life since {timeout:g} s (distributed.timeout)")
        yield

    @contextlib.contextmanager
    def _heart(self, what: str) -> Iterator[None]:
        """Signs of life, as long as the block lasts."""
        is_over = threading.Event()

        def beat() -> None:
            number = 0
            with contextlib.suppress(RuntimeError):  # the store is gone, and the run with it
                while not is_over.wait(BEAT if number else 0):
                    number += 1
                    self.store.set(f"beat {what}", str(number))

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def part(self) -> None:
        """Leave; the first process last, since the store may be its own, and others may still look there for what it has done."""
        with contextlib.suppress(RuntimeError):
            self.store.set(f"left {self.rank}", "")
            deadline = time.monotonic() + FAREWELL
            while self.rank == 0 and time.monotonic() < deadline:
                if self.store.check([f"left {other}" for other in self.others]):
                    return
                time.sleep(LOOK)

    @property
    def is_told(self) -> bool:
        """Whether a process has said what ended the run."""
        with contextlib.suppress(RuntimeError):
            return bool(self.store.check(["told"]))
        return False

    def may_tell(self) -> bool:
        """Whether this process is the first that has something to say; where the store is gone each says it."""
        with contextlib.suppress(RuntimeError):
            return bool(self.store.add("told", 1) == 1)
        return True

    def wait_until_told(self) -> bool:
        """Give the process in which an error began its time; -> whether it has told it."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_told and time.monotonic() < deadline:
            time.sleep(LOOK)
        return self.is_told

    def lost(self, otherwise: str) -> DistributedError:
        """The error that names who is gone; where all answer, that which is said otherwise."""
        return DistributedError(f"{self.gone() or otherwise}; the same command goes on")

    def gone(self) -> str:
        """Who is dead or does not answer, in words; empty where all are there. Called by all who have lost the others."""
        with contextlib.suppress(RuntimeError):
            self.store.set(f"here {self.rank}", "")
        return self.dead() or self._silent()

    def dead(self) -> str:
        """Who of this machine is dead, or has stopped, which is the same here: it is killed, or it would hang about."""
        words = []
        for other in self.others:
            pid, host = self.places[other]
            state = _state(pid) if host == self.host else "elsewhere"
            if state in ("T", "t"):
                os.kill(pid, signal.SIGKILL)
                words.append(f"{_named(other, *self.places[other])} has stopped")
            elif state in DEAD:
                words.append(f"{_named(other, *self.places[other])} has died")
        return "; ".join(words)

    def _silent(self) -> str:
        """Who does not say in time that it, too, has lost the others: it hangs, or its machine is gone."""
        missing, deadline = self.others, time.monotonic() + ANSWER
        try:
            while missing and time.monotonic() < deadline:
                missing = [other for other in missing if not self.store.check([f"here {other}"])]
                time.sleep(LOOK)
        except RuntimeError:  # the store is that of rank 0, or of its torchrun
            return "" if self.places[0][1] == self.host else f"{_named(0, *self.places[0])} or its machine has died"
        return "; ".join(f"{_named(other, *self.places[other])} gives no answer" for other in missing)


def _named(rank: int, pid: int, host: str) -> str:
    return f"rank {rank} (process {pid} on {host})"


def _state(pid: int) -> str:
    """The letter of a process' state, as Linux gives it; empty where there is none, `?` where only that can be told."""
    if not Path("/proc/self/stat").exists():
        return "?" if is_running(pid) else ""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _short(value: Any) -> str:
    return str(value)[:80]


def connect(timeout: float) -> Peers:
    """Meet the processes that torchrun's environment variables tell of. Raises DistributedError where one does not come."""
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise DistributedError(f"no {', '.join(missing)} in the environment: start several processes by torchrun")
    is_host = os.environ["RANK"] == "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
    if not is_host:
        _knock(os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"], time.monotonic() + KNOCK)
    try:
        store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=timeout)))
    except torch.distributed.DistError as error:
        raise DistributedError(f"not all of {os.environ['WORLD_SIZE']} processes came within {timeout:g} s") from error
    try:
        return Peers(_meet(store, rank, size, timeout), rank, size)
    except Stopped as error:  # by torchrun most often, since one has died before all were here
        with contextlib.suppress(RuntimeError):
            absent = "" if _is_told(store) else _absent(store, size)
            if absent and store.add(f"glassbox/told {absent}", 1) == 1:
                raise DistributedError(f"rank {rank}: {absent}; the same command goes on") from error
        raise


def _is_told(store: Any) -> bool:
    """Whether one that has met the others already, a moment before this one, has said what ended the run."""
    if not store.check(["glassbox/seen"]):
        return False
    first = store.get("glassbox/seen").decode().split()[0]
    return bool(torch.distributed.distributed_c10d.PrefixStore(f"glassbox/{first}", store).check(["told"]))


def _absent(store: Any, size: int) -> str:
    """Who has not come to the meeting yet, or has died there, in words; empty where nobody is missing."""
    words = []
    for other in range(size):
        if not store.check([f"glassbox/{other}"]):
            words.append(f"rank {other} has not come")
            continue
        _, pid, host = store.get(f"glassbox/{other}").decode().split()
        if host == socket.gethostname() and _state(int(pid)) in DEAD:
            words.append(f"{_named(other, int(pid), host)} has died")
    return "; ".join(words)


def _knock(host: str, port: str, deadline: float) -> None:
    """Wait until somebody listens there: the store's own client says the same in fifty lines. Raises DistributedError."""
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
            return
        except (OSError, ValueError, OverflowError) as error:
            if time.monotonic() > deadline:
                raise DistributedError(f"nobody answers at MASTER_ADDR:MASTER_PORT {host}:{port} ({error})") from None
        time.sleep(LOOK)


def _meet(store: Any, rank: int, size: int, timeout: float) -> Any:
    """Wait until all are here; -> a place in the store for them alone. Raises DistributedError where one does not come.

    When torchrun starts processes again, the store still holds what the earlier ones left there. So each shows a number drawn now,
    the first one tells which numbers it has seen, and who finds its own among them goes to the place named by the first one's.
    """
    number, deadline = os.urandom(8).hex(), time.monotonic() + timeout
    names = [f"glassbox/{other}" for other in range(size)]
    store.set(names[rank], f"{number} {os.getpid()} {socket.gethostname()}")
    while True:
        if rank == 0 and store.check(names):
            store.set("glassbox/seen", " ".join(value.decode().split()[0] for value in store.multi_get(names)))
        seen = store.get("glassbox/seen").decode().split() if store.check(["glassbox/seen"]) else []
        if number in seen:
            place = torch.distributed.distributed_c10d.PrefixStore(f"glassbox/{seen[0]}", store)
            place.set(f"process {rank}", f"{os.getpid()} {socket.gethostname()}")
            if place.check([f"process {other}" for other in range(size)]):
                return place
        if time.monotonic() > deadline:
            raise DistributedError(f"not all of {size} processes came within {timeout:g} s")
        time.sleep(LOOK)
