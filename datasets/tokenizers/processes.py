"""Ordered parallel map over chunks, in processes or threads, with only a few chunks in memory at a time."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from utils.errors import DataError, GlassboxError

CHUNK = 1000  # records a worker gets at a time
MEMORY = 2**32  # bytes, see `try_apart`
KILLED = DataError("a tokenisation worker was killed (out of memory?); data.num_workers: 1 needs none")
Item = TypeVar("Item")
_function: Callable[[Any], Any] | None = None  # in a worker: the function to apply


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def try_apart(function: Callable[[], Any], seconds: float) -> None:
    """Try a function in a process of its own. Raises ValueError if it fails, aborts or does not return in time.

    Its output is discarded, and it may use MEMORY bytes more than this process.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tried, args=(function, sender), daemon=True)
    process.start()
    sender.close()
    try:
        problem = receiver.recv() if receiver.poll(seconds) else f"it does not finish within {seconds:g} s"
    except EOFError:
        problem = "it crashes the process that reads it"
    finally:
        process.kill()
        process.join()
    if problem:
        raise ValueError(problem)


def _tried(function: Callable[[], Any], sender: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent kills it
    try:
        function()
        sender.send("")
    except BaseException as error:  # a panic is not an Exception
        sender.send(" ".join(str(error).split())[:200] or type(error).__name__)
    os._exit(0)


class Workers:
    """Pool of processes that apply one function, started with the first chunk; with num_workers 1, this process applies it."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        num_workers: int,
        *,
        are_threads: bool = False,
        death: GlassboxError = KILLED,
    ) -> None:
        """are_threads: threads instead of processes, for a function that spends its time in NumPy; death: raised if one dies."""
        self.function, self.num_workers, self.death = function, num_workers, death
        self._pool: Executor | None = None
        self._submit: Callable[[Any], Future[Any]] | None = None
        if num_workers > 1 and are_threads:
            threads = self._pool = ThreadPoolExecutor(num_workers)
            self._submit = lambda chunk: threads.submit(function, chunk)
        elif num_workers > 1:
            # fork passes the function on without copying its data, and needs no second `import torch`
            method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
            context = multiprocessing.get_context(method)
            processes = ProcessPoolExecutor(num_workers, context, initializer=_start, initargs=(function,))
            self._pool, self._submit = processes, lambda chunk: processes.submit(_call, chunk)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close(is_waiting=kind is None)

    def close(self, *, is_waiting: bool = True) -> None:
        """Stop the workers, and cancel pending chunks; after an error without waiting, as a worker may be stuck."""
        if self._pool is not None:
            with contextlib.suppress(RuntimeError):  # a signal came while it started: there is no thread to wait for
                self._pool.shutdown(wait=is_waiting, cancel_futures=True)

    def map(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """Apply the function to each chunk, in order. Raises `death` if a worker dies."""
        if self._submit is None:
            yield from map(self.function, chunks)
            return
        try:
            waiting: deque[Any] = deque()
            for chunk in chunks:
                waiting.append(self._submit(chunk))
                if len(waiting) > 2 * self.num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise self.death from None


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    gc.disable()  # thousands of lists of words, without cycles
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's signals reach the whole group; the parent ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit with the parent: a worker would wait for work forever, even if its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(chunk: Any) -> Any:
    assert _function is not None
    return _function(chunk)
