"""Work over several processes: in order, lazily, with its errors, and without orphans."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from datasets.tokenizers.processes import Workers, chunked
from utils.errors import DataError

WORKERS = pytest.mark.parametrize("num_workers", [1, 2, 3])


def parallel_map(function: Callable[[Any], Any], chunks: Any, num_workers: int) -> Iterator[Any]:
    with Workers(function, num_workers) as workers:
        yield from workers.map(chunks)


def become_true(is_so: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds: processes take a moment to end."""
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def square(numbers: list[int]) -> list[int]:
    time.sleep(0.01 * (numbers[0] % 3))  # later chunks are often done first
    return [number * number for number in numbers]


@pytest.mark.parametrize(("num_items", "size"), [(0, 3), (1, 3), (3, 3), (10, 3), (10, 100)])
def test_chunks_are_the_items_in_order(num_items: int, size: int) -> None:
    chunks = list(chunked(range(num_items), size))
    assert [item for chunk in chunks for item in chunk] == list(range(num_items))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks)


@WORKERS
def test_results_come_in_the_order_of_the_chunks(num_workers: int) -> None:
    results = parallel_map(square, chunked(range(50), 4), num_workers)
    assert [number for part in results for number in part] == [number * number for number in range(50)]


@WORKERS
def test_only_a_few_chunks_are_in_memory(num_workers: int) -> None:
    taken = []

    def chunks() -> Iterator[list[int]]:
        for number in range(1000):
            taken.append(number)
            yield [number]

    results = parallel_map(square, chunks(), num_workers)
    next(results)
    assert len(taken) <= 2 * num_workers + 1
    results.close()  # type: ignore[attr-defined]


def refuse_seven(numbers: list[int]) -> list[int]:
    if 7 in numbers:
        raise DataError("seven")
    return numbers


@WORKERS
def test_an_error_of_the_function_or_of_the_texts_reaches_the_caller(num_workers: int) -> None:
    def chunks() -> Iterator[list[int]]:
        yield [1]
        raise DataError("line 3")

    with pytest.raises(DataError, match="seven"):
        list(parallel_map(refuse_seven, chunked(range(50), 4), num_workers))
    with pytest.raises(DataError, match="line 3"):
        list(parallel_map(square, chunks(), num_workers))
    assert become_true(lambda: not multiprocessing.active_children())


def die(numbers: list[int]) -> list[int]:
    if 7 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers


def test_a_worker_that_is_killed_ends_the_work_with_a_hint() -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"was killed .*data.num_workers: 1 needs none"):
        list(parallel_map(die, chunked(range(50), 4), 2))
    assert time.monotonic() - started < 10


def die_while_sending(numbers: list[int]) -> bytes:
    def send_half(self: Any, data: Any) -> None:
        os.write(self.fileno(), data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    if 7 in numbers:
        multiprocessing.connection.Connection._send = send_half  # type: ignore[attr-defined]  # of this process alone
    return bytes(10_000)


@pytest.mark.timeout(30)
def test_a_worker_that_is_killed_while_it_sends_a_result_does_so_too() -> None:
    with pytest.raises(DataError, match="was killed"):
        list(parallel_map(die_while_sending, chunked(range(50), 4), 2))
    assert become_true(lambda: not multiprocessing.active_children())


def report_and_wait(numbers: list[int], pipe: Any) -> list[int]:
    pipe.send(os.getpid())
    time.sleep(0.2)
    return numbers


def work(pipe: Any) -> None:
    list(parallel_map(partial(report_and_wait, pipe=pipe), chunked(range(10_000), 1), 2))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_leave_with_a_killed_parent() -> None:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    parent = context.Process(target=work, args=(sender,))
    parent.start()
    workers = {receiver.recv() for _ in range(4)}
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    are_gone = become_true(lambda: not any(map(is_running, workers)))
    for pid in filter(is_running, workers):
        os.kill(pid, signal.SIGKILL)  # a failed test leaves none either
    assert are_gone


def test_threads_do_the_same_as_processes() -> None:
    with Workers(square, 2, are_threads=True) as workers:
        results = list(workers.map(chunked(range(50), 4)))
    assert [number for part in results for number in part] == [number * number for number in range(50)]
    with pytest.raises(DataError, match="seven"), Workers(refuse_seven, 2, are_threads=True) as workers:
        list(workers.map(chunked(range(50), 4)))


def test_an_end_while_the_processes_start_is_not_hidden_by_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("threading.Thread.start", interrupted)
    with pytest.raises(KeyboardInterrupt), Workers(square, 2) as workers:
        list(workers.map(chunked(range(50), 4)))
