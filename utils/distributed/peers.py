"""The processes of a run: what they agree on, who is gone, and which one says what ended it. How they have met: meeting.py.

All of it goes through the store that torchrun keeps (store_client.py), by looking again and again: unlike a collective this can be
interrupted, works before the processes are connected, and after one of them is dead.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.distributed.process import Process
from utils.distributed.store_client import StoreClient
from utils.errors import DistributedError, Unsaid
from utils.files.storage import unfinished

LOOK, BEAT = 0.05, 2.0  # seconds between two looks, and between two signs of life
ANSWER = 3.0  # seconds that another process has to answer
FAREWELL = 5.0  # seconds within which the processes of a machine find out that the store is gone
SHOWN = 5.0  # seconds after which a shared folder shows on one machine what another one has written
PATIENCE = 2.0  # seconds that the process in which an error began has to say so


class Peers:
    """The processes of a run by their ranks, this one being `rank`; all have come, and `store` is theirs alone."""

    def __init__(self, store: StoreClient, rank: int, processes: list[Process]) -> None:
        self.store, self.rank, self.processes, self.size = store, rank, processes, len(processes)
        self.timeout = store.timeout  # seconds of silence after which a process counts as dead
        self.others = [process for process in processes if process.rank != rank]

    def limit(self, timeout: float) -> None:
        """Wait for nobody longer than this many seconds."""
        self.timeout, self.store.timeout = timeout, max(timeout, ANSWER)

    def refuse_different(self, what: str, facts: dict[str, Any]) -> None:
        """Raise DistributedError unless all processes have the same facts, which are plain values; nobody goes on before that."""
        if self.rank == 0:
            self.store.set(f"facts {what}", json.dumps(facts))
        self._await(f"facts {what}")
        first = json.loads(self.store.get(f"facts {what}"))
        for name in sorted(first.keys() | facts.keys()):
            if first.get(name) != facts.get(name):
                raise DistributedError(
                    f"{name} is {_short(facts.get(name))} here and {_short(first.get(name))} on rank 0"
                )
        self.store.set(f"agreed {what} {self.rank}")
        self._await(*(f"agreed {what} {other}" for other in range(self.size)))

    def refuse_unshared(self, folder: Path) -> None:
        """Raise DistributedError unless every process sees what the first one writes in the folder."""
        if self.rank == 0:
            token = unfinished(folder / os.urandom(8).hex())
            try:
                token.touch()
                self.store.set("token", token.name)
                self._await(*(f"seen {other.rank}" for other in self.others))
            finally:
                token.unlink(missing_ok=True)
            return
        self._await("token")
        token, deadline = folder / self.store.get("token"), time.monotonic() + SHOWN
        while not token.exists():
            self._wait()
            if time.monotonic() > deadline:
                raise DistributedError(
                    f"does not see what rank 0 writes in {folder}; all machines need one shared folder"
                )
        self.store.set(f"seen {self.rank}")

    def _await(self, *names: str) -> None:
        """Wait until the names are in the store."""
        deadline = time.monotonic() + self.timeout
        while not self.store.has(*names):
            self._wait()
            if time.monotonic() > deadline:
                raise self.lost(f"the others do not answer within {self.timeout:g} s (distributed.timeout)")

    def _wait(self) -> None:
        """A moment. Raises Unsaid where another process has said meanwhile what ended the run."""
        if self.is_told:
            raise Unsaid
        time.sleep(LOOK)

    @contextlib.contextmanager
    def first_alone(self, what: str) -> Iterator[None]:
        """The first process does the block, however long it takes, as long as it gives signs of life; then the others do."""
        if self.rank == 0:
            with self._heart(what):
                yield
            self.store.set(f"done {what}")
            return
        last, changed = "", time.monotonic()
        while not self.store.has(f"done {what}"):
            self._wait()
            if self.store.has(f"beat {what}") and (beat := self.store.get(f"beat {what}")) != last:
                last, changed = beat, time.monotonic()
            if time.monotonic() - changed > self.timeout:
                raise self.lost(f"rank 0 has given no sign of life for {self.timeout:g} s (distributed.timeout)")
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
        """Leave; without the store not before the others of this machine know, too: to them this would be the one that has died."""
        if self.store.is_gone and any(other.is_here for other in self.others):
            time.sleep(FAREWELL)

    @property
    def is_told(self) -> bool:
        """Whether a process has said what ended the run."""
        with contextlib.suppress(RuntimeError):
            return self.store.has("told")
        return False

    def may_tell(self) -> bool:
        """Whether this process is the first that has something to say; where the store is gone, one of each machine is."""
        with contextlib.suppress(RuntimeError):
            return self.store.is_first("told")
        return all(other.rank > self.rank or not other.is_here or other.is_dead for other in self.others)

    def wait_until_told(self) -> bool:
        """Give the process in which an error began its time; -> whether it has told it."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_told and time.monotonic() < deadline:
            time.sleep(LOOK)
        return self.is_told

    def lost(self, otherwise: str) -> DistributedError:
        """The error that names who is gone; where all answer, that which is said otherwise."""
        self.limit(ANSWER)
        return DistributedError(f"{self.gone() or otherwise}; run the same command to resume")

    def gone(self) -> str:
        """Who is dead or does not answer, in words; empty where all are there. Called by all who have lost the others."""
        with contextlib.suppress(RuntimeError):
            self.store.set(f"here {self.rank}")
        return self.dead() or self._silent()

    def dead(self) -> str:
        """Who of this machine is dead, or has stopped, which is the same here: it is killed, or it would hang about."""
        words = []
        for other in self.others:
            if other.is_halted:
                other.kill()
                words.append(f"{other} has stopped")
            elif other.is_dead:
                words.append(f"{other} has died")
        return "; ".join(words)

    def _silent(self) -> str:
        """Who does not say in time that it, too, has lost the others: it hangs, or its machine is gone."""
        missing, deadline = self.others, time.monotonic() + ANSWER
        try:
            while missing and time.monotonic() < deadline:
                missing = [other for other in missing if not self.store.has(f"here {other.rank}")]
                time.sleep(LOOK)
        except RuntimeError:  # the store is kept on the machine of rank 0
            return "" if self.processes[0].is_here else f"{self.processes[0]} or its machine gives no answer"
        return "; ".join(f"{other} gives no answer" for other in missing)


def _short(value: Any) -> str:
    return str(value)[:80]
