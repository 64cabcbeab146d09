"""How the processes of a run meet, in a store that may still hold what earlier ones have left there."""

import contextlib
import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.rendezvous import rendezvous

from utils.errors import DistributedError, Stopped
from utils.peers import LOOK, Peers
from utils.process import Process

KNOCK = 10.0  # seconds that the first process has to come before another one, where no torchrun keeps their store


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
        return meet(store, rank, size, timeout)
    except Stopped as error:  # by torchrun most often, since one has died before all were here
        with contextlib.suppress(RuntimeError):
            absent = "" if _is_told(store) else _absent(store, size)
            if absent and store.add(f"glassbox/told {absent}", 1) == 1:
                raise DistributedError(f"rank {rank}: {absent}; the same command goes on") from error
        raise


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


def meet(store: Any, rank: int, size: int, timeout: float) -> Peers:
    """Wait until all are here; their place in the store is then theirs alone. Raises DistributedError where one does not come.

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
            place = _place(store, seen[0])
            place.set(f"process {rank}", f"{os.getpid()} {socket.gethostname()}")
            if place.check([f"process {other}" for other in range(size)]):
                found = [place.get(f"process {other}").decode().split() for other in range(size)]
                return Peers(place, rank, [Process(other, int(pid), host) for other, (pid, host) in enumerate(found)])
        if time.monotonic() > deadline:
            raise DistributedError(f"not all of {size} processes came within {timeout:g} s")
        time.sleep(LOOK)


def _place(store: Any, number: str) -> Any:
    """The part of the store for those who have met under the first one's number."""
    return torch.distributed.distributed_c10d.PrefixStore(f"glassbox/{number}", store)


def _is_told(store: Any) -> bool:
    """Whether one that has met the others already, a moment before this one, has said what ended the run."""
    if not store.check(["glassbox/seen"]):
        return False
    return bool(_place(store, store.get("glassbox/seen").decode().split()[0]).check(["told"]))


def _absent(store: Any, size: int) -> str:
    """Who has not come to the meeting yet, or has died there, in words; empty where nobody is missing."""
    words = []
    for other in range(size):
        if not store.check([f"glassbox/{other}"]):
            words.append(f"rank {other} has not come")
            continue
        _, pid, host = store.get(f"glassbox/{other}").decode().split()
        if (process := Process(other, int(pid), host)).is_dead:
            words.append(f"{process} has died")
    return "; ".join(words)
