"""How several processes of a run end: all of them, and one says why, in one line: the one in which it began.

Nothing is summed or waited for by a collective while an error is handled: the others may be gone.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import torch

from utils.distributed.peers import ANSWER, Peers
from utils.distributed.rendezvous import connect, refuse_loopback
from utils.distributed.worker import DEFAULT_TIMEOUT, Worker
from utils.errors import DistributedError, GlassboxError, Stopped, Unsaid
from utils.machine import signals

GRACE = 10.0  # seconds that the first process has to say what ends all


@contextlib.contextmanager
def together() -> Iterator[Worker]:
    """The process as one of its run's. What ends the block is said by one of them: by the one in which it began."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Worker()
        return
    signals.only_the_first()
    try:
        peers = connect(DEFAULT_TIMEOUT)
    except Stopped as error:  # by torchrun, since another process has failed
        raise Unsaid(error.exit_code) from None
    try:
        refuse_loopback(peers)
        yield Worker(peers)
        _ignore_signals()  # what was to be done is done
    except BaseException as error:
        _ignore_signals()
        peers.limit(ANSWER)
        # The group is left as it is: to end it, NCCL would wait for what cannot end any more.
        said = _said_once(error, peers)
        peers.part()
        raise said from error
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _ignore_signals() -> None:
    """Torchrun ends all as soon as one is gone; that one is to be named first."""
    for _ in range(2):
        with contextlib.suppress(Stopped):  # one came together with the end, most often for the same reason
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def _said_once(error: BaseException, peers: Peers) -> BaseException:
    """What this process has to say of the end: the cause, if it is the first to know one, or nothing."""
    code = getattr(error, "exit_code", DistributedError.exit_code)
    is_lost = _is_lost(error)
    if is_lost and peers.wait_until_told():
        return Unsaid()
    if is_lost or isinstance(error, Stopped):  # after a signal others may well be busy, and have no reason to answer
        gone = "" if peers.is_told else peers.gone() if is_lost else peers.dead()
        if gone or is_lost:
            error = DistributedError(f"{gone or 'the processes have lost each other'}; run the same command to resume")
    if isinstance(error, Unsaid) or not peers.may_tell():
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
