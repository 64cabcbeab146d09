"""The store in which processes leave each other words, asked so that every answer has a bound.

torchrun keeps it: a table of bytes by name, served by one process. The client of torch waits without end, and hears no signal
meanwhile, where that process has gone without closing its connections: where the network is cut, or its machine is off.
"""

from collections.abc import Callable
from typing import Any

import torch

from utils.machine.interruptible import interruptible


def bounded(call: Callable[[], Any], seconds: float) -> Any:
    """What the call returns or raises. Raises DistStoreError after so many seconds; the call, which may have no end, is left."""
    try:
        return interruptible(call, seconds)
    except TimeoutError as error:
        raise torch.distributed.DistStoreError(str(error)) from None


class StoreClient:
    """A store of torch.distributed. Every question raises DistStoreError where it is gone or silent, and from then on at once."""

    def __init__(self, raw: Any, timeout: float) -> None:
        """`raw` as torch knows it; `timeout` for an answer, in seconds."""
        self.raw, self.timeout, self.is_gone = raw, timeout, False

    def under(self, prefix: str) -> "StoreClient":
        """The part of the store whose names begin so."""
        return StoreClient(torch.distributed.distributed_c10d.PrefixStore(prefix, self.raw), self.timeout)

    def set(self, name: str, value: str = "") -> None:
        """Leave a value there."""
        self._ask(self.raw.set, name, value)

    def get(self, name: str) -> str:
        """The value of a name that is there."""
        return str(self._ask(self.raw.get, name).decode())

    def has(self, *names: str) -> bool:
        """Whether all the names are there."""
        return bool(self._ask(self.raw.check, list(names)))

    def is_first(self, name: str) -> bool:
        """Whether nobody has asked this of the name before."""
        return bool(self._ask(self.raw.add, name, 1) == 1)

    def _ask(self, question: Callable[..., Any], *words: Any) -> Any:
        cause = None
        if not self.is_gone:
            try:
                return bounded(lambda: question(*words), self.timeout)
            except RuntimeError as error:
                self.is_gone, cause = True, error
        raise torch.distributed.DistStoreError("the store that the processes share is gone") from cause
