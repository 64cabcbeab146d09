"""How the processes of a run meet, in a store that may still hold what earlier ones have left there."""

import contextlib
import ipaddress
import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch

from utils.distributed.peers import ANSWER, LOOK, Peers
from utils.distributed.process import Process
from utils.distributed.store_client import StoreClient, bounded
from utils.distributed.store_server import keep_store
from utils.errors import DistributedError, Stopped, Unsaid

KNOCK = 10.0  # seconds that somebody has to answer at the address of the store


def connect(timeout: float) -> Peers:
    """Meet the processes that torchrun's environment variables tell of. Raises DistributedError where one does not come."""
    rank, size, host, port = _told_by_torchrun()
    if rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        keep_store(host, port)
    client = StoreClient(_open_store(host, port, timeout), timeout).under("glassbox")
    try:
        return meet(client, rank, size)
    except (DistributedError, Stopped) as error:
        raise _said_by_one(error, client, rank, size) from error
    except torch.distributed.DistError as error:
        raise DistributedError(f"rank {rank}: {error}; run the same command to resume") from error


def _said_by_one(error: DistributedError | Stopped, client: StoreClient, rank: int, size: int) -> BaseException:
    """An end before all have met, as one of those who have come says it: with the name of who is missing.

    Torchrun stops all where one has died, which most often is then the one that has not come.
    """
    client.timeout = ANSWER
    try:
        absent = "" if _is_told(client) else _absent(client, rank, size)
        if isinstance(error, Stopped) and not absent:
            return error
        if not client.is_first(f"told {os.environ.get('TORCHELASTIC_RESTART_COUNT', '')}"):
            return Unsaid(error.exit_code)
    except RuntimeError:  # the store is gone
        return error
    return DistributedError(f"rank {rank}: {absent or error}; run the same command to resume")


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


def _open_store(host: str, port: int, timeout: float) -> Any:
    """The store at the address. Raises DistributedError where there is none."""
    _knock(host, port, time.monotonic() + KNOCK)
    options: dict[str, Any] = {"timeout": timedelta(seconds=timeout), "wait_for_workers": False}
    try:
        return bounded(lambda: torch.distributed.TCPStore(host, port, **options), timeout)  # type: ignore[attr-defined]
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
            raise DistributedError(f"not all of {size} processes joined within {store.timeout:g} s")
        time.sleep(LOOK)


def refuse_loopback(peers: Peers) -> None:
    """Raise DistributedError where gloo would give processes on other machines an address that leads them to themselves."""
    if all(other.is_here for other in peers.others) or os.environ.get("GLOO_SOCKET_IFNAME"):
        return
    name, address = socket.gethostname(), "none"
    with contextlib.suppress(OSError):
        address = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    if address == "none" or ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        found = ", ".join(interface for _, interface in socket.if_nameindex() if interface != "lo")
        raise DistributedError(
            f"the address of {name} on itself (/etc/hosts) is {address}, where other machines do not find it; on each machine "
            f"export GLOO_SOCKET_IFNAME=INTERFACE, the one that leads to the others (here: {found})"
        )


def _is_told(store: StoreClient) -> bool:
    """Whether one that has met the others already, a moment before this one, has said what ended the run."""
    return store.has("seen") and store.under(store.get("seen").split()[0]).has("told")


def _absent(store: StoreClient, rank: int, size: int) -> str:
    """Who has not come to the meeting of `rank` yet, or has died there, in words; empty where nobody is missing."""
    words = []
    for other in (other for other in range(size) if other != rank):
        if not store.has(f"process {other}"):
            words.append(f"rank {other} has not joined")
            continue
        _, pid, host = store.get(f"process {other}").split()
        if (process := Process(other, int(pid), host)).is_dead:
            words.append(f"{process} has died")
    return "; ".join(words)
