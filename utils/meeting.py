"""How the processes of a run meet, in a store that may still hold what earlier ones have left there."""

import contextlib
import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch

from utils.errors import DistributedError, Stopped
from utils.peers import ANSWER, LOOK, Peers
from utils.process import Process
from utils.store_client import StoreClient

KNOCK = 10.0  # seconds that the first process has to come before another one, where no torchrun keeps their store


def connect(timeout: float) -> Peers:
    """Meet the processes that torchrun's environment variables tell of. Raises DistributedError where one does not come."""
    rank, size, host, port = _told_by_torchrun()
    is_host = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
    client = StoreClient(_open_store(host, port, timeout, is_host=is_host), timeout).under("glassbox")
    try:
        peers = meet(client, rank, size)
        peers.keeps_store = is_host
        return peers
    except Stopped as error:  # by torchrun most often, since one has died before all were here
        with contextlib.suppress(RuntimeError):
            client.timeout = ANSWER
            absent = "" if _is_told(client) else _absent(client, size)
            if absent and client.is_first(f"told {absent}"):
                raise DistributedError(f"rank {rank}: {absent}; the same command goes on") from error
        raise
    except torch.distributed.DistError as error:
        raise DistributedError(f"rank {rank}: {error}; the same command goes on") from error


def _told_by_torchrun() -> tuple[int, int, str, int]:
    """The rank of this process, how many there are, and the address and port of their store. Raises DistributedError."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise DistributedError(f"no {', '.join(missing)} in the environment: start several processes by torchrun")
    values = [os.environ[name] for name in names]
    try:
        rank, size, host, port = int(values[0]), int(values[1]), values[2], int(values[3])
        if not 0 <= rank < size or not 0 < port < 2**16:
            raise ValueError
    except ValueError as error:
        raise DistributedError(f"{', '.join(names)} are not as torchrun sets them: {', '.join(values)}") from error
    return rank, size, host, port


def _open_store(host: str, port: int, timeout: float, *, is_host: bool) -> Any:
    """The store at the address, which `is_host` itself keeps there; nobody is waited for here, where no signal would be heard."""
    if not is_host:
        _knock(host, port, time.monotonic() + KNOCK)
    options: dict[str, Any] = {"timeout": timedelta(seconds=timeout), "wait_for_workers": False}
    try:
        return torch.distributed.TCPStore(host, port, is_master=is_host, **options)  # type: ignore[attr-defined]
    except torch.distributed.DistError as error:
        reason = str(error).partition("\n")[0]
        raise DistributedError(f"no store at MASTER_ADDR:MASTER_PORT {host}:{port} ({reason})") from error


def _knock(host: str, port: int, deadline: float) -> None:
    """Wait until somebody listens there: the store's own client says the same in fifty lines. Raises DistributedError."""
    while True:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise DistributedError(f"nobody answers at MASTER_ADDR:MASTER_PORT {host}:{port} ({error})") from None
        time.sleep(LOOK)


def meet(store: StoreClient, rank: int, size: int) -> Peers:
    """Wait until all are here; their place in the store is then theirs alone. Raises DistributedError where one does not come.

    When torchrun starts processes again, the store still holds what the earlier ones left there. So each shows a number drawn now,
    the first one tells which numbers it has seen, and who finds its own among them goes to the place named by the first one's.
    """
    number, deadline = os.urandom(8).hex(), time.monotonic() + store.timeout
    names = [f"process {other}" for other in range(size)]
    here = f"{os.getpid()} {socket.gethostname()}"
    store.set(names[rank], f"{number} {here}")
    while True:
        if rank == 0 and store.has(*names):
            store.set("seen", " ".join(store.get(name).split()[0] for name in names))
        seen = store.get("seen").split() if store.has("seen") else []
        if number in seen:
            place = store.under(seen[0])
            place.set(names[rank], here)
            if place.has(*names):
                found = [place.get(name).split() for name in names]
                return Peers(place, rank, [Process(other, int(pid), host) for other, (pid, host) in enumerate(found)])
        if time.monotonic() > deadline:
            raise DistributedError(f"not all of {size} processes came within {store.timeout:g} s")
        time.sleep(LOOK)


def refuse_loopback(peers: Peers) -> None:
    """Raise DistributedError where gloo would give processes on other machines an address that leads them to themselves."""
    if all(other.is_here for other in peers.others) or os.environ.get("GLOO_SOCKET_IFNAME"):
        return
    name, address = socket.gethostname(), "none"
    with contextlib.suppress(OSError):
        address = socket.gethostbyname(name)
    if address == "none" or address.startswith("127."):
        found = ", ".join(interface for _, interface in socket.if_nameindex() if interface != "lo")
        raise DistributedError(
            f"the address of {name} on itself (/etc/hosts) is {address}, where other machines do not find it; on each machine "
            f"export GLOO_SOCKET_IFNAME=INTERFACE, the one that leads to the others (here: {found})"
        )


def _is_told(store: StoreClient) -> bool:
    """Whether one that has met the others already, a moment before this one, has said what ended the run."""
    return store.has("seen") and store.under(store.get("seen").split()[0]).has("told")


def _absent(store: StoreClient, size: int) -> str:
    """Who has not come to the meeting yet, or has died there, in words; empty where nobody is missing."""
    words = []
    for other in range(size):
        if not store.has(f"process {other}"):
            words.append(f"rank {other} has not come")
            continue
        _, pid, host = store.get(f"process {other}").split()
        if (process := Process(other, int(pid), host)).is_dead:
            words.append(f"{process} has died")
    return "; ".join(words)
