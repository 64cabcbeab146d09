"""Library calls that a signal or a timeout can interrupt: Python's signal handlers do not run during C code."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def interruptible(call: Callable[[], Any], seconds: float | None = None) -> Any:
    """Run a call in a thread; return or raise its result. It must release the GIL, as tokenizers and torch do.

    Raises TimeoutError after `seconds`. An abandoned call may never return: its thread ends with the process.
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=seconds)  # signals are handled here
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value
