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
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from utils.errors import DataError, GlassboxError, reason_of

CHUNK = 1000  # records a worker gets at a time
MEMORY = 2**32  # bytes, see `try_apart`
KILLED = DataError("a tokenisation worker was killed (out of memory?); data.num_workers: 1 needs none")
Item = TypeVar("Item")


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def blocks(items: Iterable[Item], size_of: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Lists of items, each ended by the item with which their sizes reach the limit."""
    block, size = list[Item](), 0
    for item in items:
        block.append(item)
        size += size_of(item)
        if size >= limit:
            yield block
            block, size = [], 0
    if block:
        yield block


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
    _leave_signals_to_the_parent()
    try:
        function()
        sender.send("")
    except BaseException as error:  # a panic is not an Exception
        sender.send(reason_of(error))
    os._exit(0)


def _leave_signals_to_the_parent() -> None:
    """Ignore those of a terminal, which reach the whole group; the parent ends its processes."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class Workers:
    """Pool of processes that apply one function, started with the first chunk; with num_workers 1, this process applies it.

    Each process has a pipe of its own, which ends with it. In one pipe for all, as ProcessPoolExecutor has, the reader would wait
    forever for the rest of what a process was sending when it was killed. A thread for each process sends and receives.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        num_workers: int,
        *,
        are_threads: bool = False,
        death: GlassboxError = KILLED,
    ) -> None:
        """are_threads: threads instead of processes, for a function that spends its time in NumPy; death: raised if one dies."""
        self.function, self.num_workers, self.are_threads, self.death = function, num_workers, are_threads, death
        self._threads = ThreadPoolExecutor(num_workers)
        self._processes: list[Any] = []
        self._idle: SimpleQueue[Connection] = SimpleQueue()  # the pipes of the processes that have nothing to do

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, and cancel pending chunks."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()  # its results are all here, or not wanted any more
        for process in self._processes:
            process.join()

    def map(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """Apply the function to each chunk, in order. Raises `death` if a worker dies."""
        if self.num_workers == 1:
            yield from map(self.function, chunks)
            return
        waiting: deque[Future[Any]] = deque()
        for chunk in chunks:
            if not self.are_threads and not self._processes:
                self._start()
            waiting.append(self._threads.submit(self.function if self.are_threads else self._ask, chunk))
            if len(waiting) > 2 * self.num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _start(self) -> None:
        # fork passes the function on without copying its data, and needs no second `import torch`
        context: Any = multiprocessing.get_context(
            "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        )
        for _ in range(self.num_workers):
            own, its = context.Pipe()
            process = context.Process(target=_serve, args=(self.function, its), daemon=True)
            process.start()
            self._processes.append(process)
            its.close()  # or the end of the process would not end the pipe
            self._idle.put(own)

    def _ask(self, chunk: Any) -> Any:
        """What a process that is idle makes of the chunk."""
        pipe = self._idle.get()
        try:
            pipe.send(chunk)
            error, result = pipe.recv()
        except (EOFError, OSError):
            raise self.death from None
        finally:
            self._idle.put(pipe)  # also one that has ended, or the next chunk would wait for it
        if error is not None:
            raise error
        return result


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """In a worker: apply the function to each chunk that comes."""
    gc.disable()  # thousands of lists of words, without cycles
    _leave_signals_to_the_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            chunk = pipe.recv()
            try:
                error, result = None, function(chunk)
            except Exception as raised:
                error, result = raised, None
            pipe.send((error, result))


def _end_with_parent() -> None:
    """Exit with the parent: a worker would wait for work forever, even if its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
