"""The ranks of a run: who has joined, what they agree on, who is gone, and which one reports what ended the run.

They leave each other values in torchrun's store and poll it: unlike a collective, that can be interrupted, works before the process
group exists, and still works after a rank has died. A store that is gone raises RuntimeError.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import DistributedError, Unsaid
from utils.files.storage import unfinished

LOOK, BEAT = 0.05, 1.0  # seconds between two polls, and between two heartbeats
ANSWER = 3.0  # seconds that another rank has to answer
FAREWELL = 5.0  # seconds within which the ranks of a machine notice that the store is gone
SHOWN = 5.0  # seconds after which a shared folder shows on one machine what another one has written
RESUME = "run the same command to resume"


@dataclass(frozen=True)
class Process:
    """The process of a rank: its number and its machine."""

    rank: int
    pid: int
    host: str

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid} on {self.host})"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine; of others nothing can be seen."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended; torchrun may not have waited for it yet, which makes it a zombie."""
        if not self.is_here:
            return False
        with contextlib.suppress(OSError):  # not there, or a system without /proc
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][:1] in "ZX"
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False


class Peers:
    """The ranks of a run, as `rank` sees them; keeps_store: whether the store ends with this process."""

    def __init__(self, store: Any, rank: int, size: int, timeout: float, *, keeps_store: bool = False) -> None:
        self.store, self.rank, self.size, self.keeps_store = store, rank, size, keeps_store
        self.timeout = timeout  # seconds of silence after which a process counts as dead
        self.other_ranks = [other for other in range(size) if other != rank]
        self.others: dict[int, Process] = {}  # those of them that have joined
        self.calls = Counter[str]()  # a key of the store is used once: a second meeting of one name is another one

    def join(self) -> None:
        """Wait until all ranks have joined. Raises DistributedError, which names those that have not."""
        self.store.set(f"process {self.rank}", json.dumps([os.getpid(), socket.gethostname()]))
        self._await(*(f"process {other}" for other in self.other_ranks))
        self._find_others()

    def _find_others(self) -> None:
        for rank in self.other_ranks:
            if rank not in self.others and self.store.check([f"process {rank}"]):
                self.others[rank] = Process(rank, *json.loads(self.store.get(f"process {rank}")))

    # What they agree on.

    def refuse_different(self, what: str, facts: dict[str, Any]) -> None:
        """Raise DistributedError unless all ranks have the same facts, which are plain values; nobody goes on before that."""
        what = self._numbered(what)
        if self.rank == 0:
            self.store.set(f"facts {what}", json.dumps(facts))
        self._await(f"facts {what}")
        first = json.loads(self.store.get(f"facts {what}"))
        for name in sorted(first.keys() | facts.keys()):
            mine, theirs = (str(values.get(name))[:80] for values in (facts, first))
            if facts.get(name) != first.get(name):
                raise DistributedError(f"{name} is {mine} here and {theirs} on rank 0")
        self.store.set(f"agreed {what} {self.rank}", "")
        self._await(*(f"agreed {what} {other}" for other in self.other_ranks))

    def refuse_unshared(self, folder: Path) -> None:
        """Raise DistributedError unless every rank sees what the first one writes in the folder."""
        if self.rank == 0:
            token = unfinished(folder / os.urandom(8).hex())
            try:
                token.touch()
                self.store.set("token", token.name)
                self._await(*(f"seen {other}" for other in self.other_ranks))
            finally:
                token.unlink(missing_ok=True)
            return
        self._await("token")
        token, deadline = folder / self.store.get("token").decode(), time.monotonic() + SHOWN
        while not token.exists():
            self._wait()
            if time.monotonic() > deadline:
                raise DistributedError(
                    f"does not see what rank 0 writes in {folder}; all machines need one shared folder"
                )
        self.store.set(f"seen {self.rank}", "")

    def _numbered(self, what: str) -> str:
        self.calls[what] += 1
        return f"{what} {self.calls[what]}"

    def _await(self, *keys: str) -> None:
        """Wait until the keys are in the store. Raises DistributedError after the timeout, Unsaid where the run has ended."""
        deadline = time.monotonic() + self.timeout
        while not self.store.check(list(keys)):
            self._wait()
            if time.monotonic() > deadline:
                raise self.lost(f"the others do not answer within {self.timeout:g} s (distributed.timeout)")

    def _wait(self) -> None:
        """A moment. Raises Unsaid where another rank has reported meanwhile what ended the run."""
        if self.is_told:
            raise Unsaid
        time.sleep(LOOK)

    @contextlib.contextmanager
    def first_alone(self, what: str) -> Iterator[None]:
        """The first rank does the block, however long it takes, as long as its heart beats; then the others do."""
        what = self._numbered(what)
        if self.rank == 0:
            with self._heartbeat():
                yield
            self.store.set(f"done {what}", "")
            return
        last, changed = 0, time.monotonic()
        while not self.store.check([f"done {what}"]):
            self._wait()
            if (beat := self.store.add("beat", 0)) != last:
                last, changed = beat, time.monotonic()
            if time.monotonic() - changed > self.timeout:
                raise self.lost(f"rank 0 has given no sign of life for {self.timeout:g} s (distributed.timeout)")
        yield

    @contextlib.contextmanager
    def _heartbeat(self) -> Iterator[None]:
        is_over = threading.Event()

        def beat() -> None:
            with contextlib.suppress(RuntimeError):  # the store is gone, and the run with it
                while not is_over.wait(BEAT):
                    self.store.add("beat", 1)

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    # How they end.

    @property
    def is_told(self) -> bool:
        """Whether a rank has reported what ended the run."""
        with contextlib.suppress(RuntimeError):
            return bool(self.store.check(["told"]))
        return False

    def may_tell(self) -> bool:
        """Whether this rank is the first that has something to report; without the store, one of each machine is."""
        with contextlib.suppress(RuntimeError):
            return bool(self.store.add("told", 1) == 1)
        return all(other.rank > self.rank or not other.is_here or other.is_dead for other in self.others.values())

    def lost(self, otherwise: str) -> DistributedError:
        """The error that names who is gone, or what `otherwise` says where all answer."""
        return DistributedError(f"{self.gone() or otherwise}; {RESUME}")

    def gone(self) -> str:
        """Who is dead or does not answer, in words; empty where all are there. Called by all who have lost the others."""
        deadline = time.monotonic() + ANSWER
        try:
            self.store.set(f"here {self.rank}", "")
            while not (dead := self.dead()) and time.monotonic() < deadline:
                if self.store.check([f"here {rank}" for rank in self.other_ranks]):
                    return ""
                time.sleep(LOOK)
            silent = [other for other in self.others.values() if not self.store.check([f"here {other.rank}"])]
        except RuntimeError:
            return self.without_store()
        return dead or "; ".join(f"{other} gives no answer" for other in silent)

    def dead(self) -> str:
        """Who has not joined, or has died on this machine, in words."""
        try:
            self.store.check(["told"])
            self._find_others()
        except RuntimeError:
            return self.without_store()
        absent = [f"rank {rank} has not joined" for rank in self.other_ranks if rank not in self.others]
        return "; ".join(absent + [f"{other} has died" for other in self.others.values() if other.is_dead])

    def without_store(self) -> str:
        """Whose end explains that the store is gone, in words; others may have left since, because of that."""
        first = self.others.get(0)
        if first is None or not first.is_here:
            return "" if first is None else f"{first} or its machine gives no answer"
        return f"{first} has died" if first.is_dead else ""

    def leave(self) -> None:
        """Wait, for some seconds, for those who would take this rank's absence for the cause.

        These are all others, where the store ends with this rank; without a store, they are those of this machine.
        """
        deadline = time.monotonic() + FAREWELL
        try:
            self.store.set(f"left {self.rank}", "")
            while self.keeps_store and time.monotonic() < deadline:
                if self.store.check([f"left {other}" for other in self.other_ranks]):
                    return
                time.sleep(LOOK)
        except RuntimeError:
            time.sleep(FAREWELL)
