"""The store of several machines, kept by a process of its own.

Where torchrun keeps none (TORCH_DISABLE_SHARE_RDZV_TCP_STORE), the first process is to keep it. When that one ends, the others
would lose the store together with their connections to it, and could not read there what it has said.
"""

import os
import signal
import time
from typing import NoReturn

import torch

from utils.errors import DistributedError

LINGER = 10.0  # seconds that the store outlives the process which has begun it


def keep_store(host: str, port: int) -> None:
    """Begin a process that keeps a store at this machine's port. Raises DistributedError where it cannot."""
    (life, here), (word, there) = os.pipe(), os.pipe()  # `here` is closed when this process ends, however it does
    if os.fork() == 0:
        os.close(here)
        _keep(host, port, life, there)
    os.close(life)
    os.close(there)
    with os.fdopen(word, "rb") as told:
        reason = told.read().decode(errors="replace")
    if reason:
        raise DistributedError(f"no store at MASTER_ADDR:MASTER_PORT {host}:{port} ({reason.partition(chr(10))[0]})")


def _keep(host: str, port: int, life: int, there: int) -> NoReturn:
    """Keep the store until some seconds after the end of the process that `life` hangs on; `there` hears why not, if it cannot."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for stream in range(3):  # whoever reads the output of the run does not wait for this process
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        store = torch.distributed.TCPStore(host, port, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        os.close(there)
        os.read(life, 1)
        time.sleep(LINGER)
        del store
    except BaseException as error:
        os.write(there, str(error).encode() or b"?")
    finally:
        os._exit(0)
