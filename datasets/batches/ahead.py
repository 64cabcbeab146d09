"""Batch prefetching in a background thread, for a device that would otherwise wait for the host."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2  # prefetched batches; more would only take memory


def made_ahead(items: Iterator[T], *, is_on: bool) -> Iterator[T]:
    """Prefetch items, in order; an error is raised in place of its item.

    is_on: False makes each item on demand, without a thread.
    """
    if not is_on:
        yield from items
        return
    with ThreadPoolExecutor(1, "batches") as thread:
        waiting = deque(thread.submit(next, items, None) for _ in range(DEPTH))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, items, None))
                yield item
        finally:
            for future in waiting:
                future.cancel()
