"""A call into a library that a signal, or a bound on its time, can leave: Python's handlers do not run while C code does."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def interruptible(call: Callable[[], Any], seconds: float | None = None) -> Any:
    """What the call returns or raises. It runs in a thread, and must let go of Python's lock, as tokenizers and torch do.

    Raises TimeoutError after so many seconds. A call that is left may have no end: its thread ends with the process.
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=seconds)  # here signals are heard
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value
