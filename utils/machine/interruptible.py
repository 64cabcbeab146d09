"""Library calls that a signal can interrupt: Python's signal handlers do not run during C code."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def interruptible(call: Callable[[], Any]) -> Any:
    """Run a call in a thread; return or raise its result. It must release the GIL, as tokenizers and torch do.

    An abandoned call may never return: its thread ends with the process.
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    value, error = results.get()  # signals are handled here
    if error is not None:
        raise error
    return value
