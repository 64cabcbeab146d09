"""How the ranks of a run meet: in the store that torchrun keeps, or in that of rank 0."""

import contextlib
import ipaddress
import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch

from utils.distributed.peers import LOOK, Peers
from utils.errors import DistributedError

KNOCK = 10.0  # seconds within which the store must be reachable


def connect(timeout: float) -> Peers:
    """Open the store that torchrun's environment variables name. Raises DistributedError where there is none."""
    rank, size, host, port = _told_by_torchrun()
    is_torchruns = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    keeps_store = rank == 0 and not is_torchruns
    store = _open_store(host, port, timeout, keeps_store)
    # Torchrun's store outlives a restart, and still holds what the earlier processes have left there.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_torchruns else "0"
    store = torch.distributed.distributed_c10d.PrefixStore(f"glassbox {attempt}", store)
    return Peers(store, rank, size, timeout, keeps_store=keeps_store)


def _told_by_torchrun() -> tuple[int, int, str, int]:
    """The rank of this process, the number of ranks, and the address and port of their store. Raises DistributedError."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise DistributedError(f"no {', '.join(missing)} in the environment: start several processes by torchrun")
    rank, size, host, port = (os.environ[name] for name in names)
    are_numbers = rank.isdecimal() and size.isdecimal() and port.isdecimal()
    if not (are_numbers and int(rank) < int(size) and 0 < int(port) < 2**16):
        raise DistributedError(f"{', '.join(names)} are not as torchrun sets them: {rank}, {size}, {host}, {port}")
    return int(rank), int(size), host, int(port)


def _open_store(host: str, port: int, timeout: float, keeps_store: bool) -> Any:
    if not keeps_store:
        _knock(host, port, time.monotonic() + KNOCK)
    options: dict[str, Any] = {"timeout": timedelta(seconds=timeout), "wait_for_workers": False}
    try:
        return torch.distributed.TCPStore(host, port, is_master=keeps_store, **options)  # type: ignore[attr-defined]
    except torch.distributed.DistError as error:
        reason = str(error).partition("\n")[0]
        raise DistributedError(f"no store at MASTER_ADDR:MASTER_PORT {host}:{port} ({reason})") from error


def _knock(host: str, port: int, deadline: float) -> None:
    """Wait until something listens there: the store's own client reports its failure in fifty lines. Raises DistributedError."""
    while True:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise DistributedError(f"nobody answers at MASTER_ADDR:MASTER_PORT {host}:{port} ({error})") from None
        time.sleep(LOOK)


def refuse_loopback(peers: Peers) -> None:
    """Raise DistributedError where gloo would give processes on other machines an address that leads them to themselves."""
    if all(other.is_here for other in peers.others.values()) or os.environ.get("GLOO_SOCKET_IFNAME"):
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
