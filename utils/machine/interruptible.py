"""A call into a library that a signal can leave: Python's handlers do not run while C code does."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def interruptible(call: Callable[[], Any]) -> Any:
    """What the call returns or raises. It runs in a thread, and must let go of Python's lock, as tokenizers and torch do.

    A call that is left may have no end: its thread ends with the process.
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    value, error = results.get()  # here signals are heard
    if error is not None:
        raise error
    return value
