"""Coordinated shutdown: every rank exits, and only the rank that failed first reports the error.

No collective is called while an error is handled: the others may be gone.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

import torch

from utils.distributed.peers import ANSWER, FAREWELL, RESUME, Peers
from utils.distributed.rendezvous import connect, refuse_loopback
from utils.distributed.worker import DEFAULT_TIMEOUT, Worker
from utils.errors import DistributedError, GlassboxError, Stopped, Unsaid
from utils.machine import signals

GRACE = 10.0  # seconds that the first rank has to report what ends all


@contextlib.contextmanager
def together() -> Iterator[Worker]:
    """The ranks of a run as this one sees them. Whatever ends the block is reported by the rank that failed first."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Worker()
        return
    signals.only_the_first()
    try:
        peers = connect(DEFAULT_TIMEOUT)
    except Stopped as error:  # by torchrun, since another rank has failed
        raise Unsaid(error.exit_code) from None
    try:
        try:
            peers.join()
            refuse_loopback(peers)
            yield Worker(peers)
        finally:
            signals.ignore()  # the work is done, or has failed; torchrun ends all ranks as soon as one is gone
    except BaseException as error:
        signals.ignore()  # the one signal that counts may have come just before they were ignored
        # The process group is left as it is: to destroy it, NCCL would wait for what cannot end any more.
        with _ended_in_time(peers):
            reported = _reported_once(error, peers)
            peers.leave()
        raise reported from error
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    peers.leave()


@contextlib.contextmanager
def _ended_in_time(peers: Peers) -> Iterator[None]:
    """End the process where the block does not: on a cut network torch waits for the store without a limit."""

    def end() -> None:
        cause = peers.without_store() or "the store gives no answer"
        print(f"rank {peers.rank}: {cause}; {RESUME}", file=sys.stderr, flush=True)
        os._exit(DistributedError.exit_code)

    timer = threading.Timer(ANSWER + FAREWELL + 2, end)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


def _reported_once(error: BaseException, peers: Peers) -> BaseException:
    """What this rank reports: what ended the run, if it is the first to know, or nothing."""
    code = getattr(error, "exit_code", DistributedError.exit_code)
    if isinstance(error, Unsaid) or peers.is_told:
        return Unsaid(code)
    gone = ""
    if _is_lost(error):
        gone = peers.gone() or "the processes have lost each other"
    elif isinstance(error, Stopped):  # torchrun's, where another one has died; others may be busy, and do not answer
        gone = peers.dead()
    if gone:
        error = DistributedError(f"{gone}; {RESUME}")
    if not peers.may_tell():
        return Unsaid(code)
    if isinstance(error, GlassboxError | Stopped):
        error.args = (f"rank {peers.rank}: {error.args[0]}", *error.args[1:])
    return error


def _is_lost(error: BaseException) -> bool:
    """Whether a collective has failed, as it does soon after another process has died, or when none answers in time."""
    signs = ("gloo", "NCCL", "Connection", "Timed out", "timeout")
    is_general = type(error) is RuntimeError and any(sign in str(error) for sign in signs)
    return is_general or isinstance(error, torch.distributed.DistError)


def refuse_many_processes(what: str) -> None:
    """Raise DistributedError under torchrun with more than one process, where the work is that of one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return
    if os.environ.get("RANK", "0") != "0":
        with contextlib.suppress(Stopped):  # torchrun ends this one as soon as the first one, which says it, has left
            time.sleep(GRACE)
        raise Unsaid
    raise DistributedError(f"{what} is done by one process, without torchrun")
