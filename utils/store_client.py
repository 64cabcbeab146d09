"""The store in which processes leave each other words, asked so that every answer has a bound.

torchrun keeps it: a table of bytes by name, served by one process. The client of torch waits without end, and hears no signal
meanwhile, where that process has gone without closing its connections: where the network is cut, or its machine is off.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch


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
        """The answer, waited for beside a thread of its own, since the client's call itself cannot be given up."""
        answer: Future[Any] = Future()

        def ask() -> None:
            try:
                answer.set_result(question(*words))
            except RuntimeError as error:
                answer.set_exception(error)

        if not self.is_gone:
            threading.Thread(target=ask, daemon=True).start()
            try:
                return answer.result(self.timeout)
            except (TimeoutError, RuntimeError):
                self.is_gone = True
        raise torch.distributed.DistStoreError("the store that the processes share is gone")
