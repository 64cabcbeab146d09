"""The batcher: order and identity of answers, sizes of batches, errors, limits."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents.serving import batching
from agents.serving.batching import Batcher, Busy


def served(batcher: Batcher[Any, Any], clients: Callable[[], Awaitable[Any]]) -> Any:
    """What clients get while the batches run."""

    async def main() -> Any:
        task = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(clients(), 30)
        finally:
            task.cancel()
            batcher.close()

    return asyncio.run(main())


def test_each_request_gets_its_own_answers_in_order() -> None:
    batches: list[list[str]] = []
    threads = set()

    def answer(items: list[str]) -> list[str]:
        batches.append(items)
        threads.add(threading.current_thread().name)
        return [item.upper() for item in items]

    batcher = Batcher(answer, max_batch=7)
    requests = [[f"{client} {i}" for i in range(1 + client % 11)] for client in range(50)]
    found = served(batcher, lambda: asyncio.gather(*map(batcher.submit, requests)))
    assert found == [[item.upper() for item in request] for request in requests]
    assert [item for batch in batches for item in batch] == [item for request in requests for item in request]
    assert {len(batch) for batch in batches[:-1]} == {7}
    assert len(threads) == 1
    assert batcher.waiting == 0


def test_what_comes_while_a_batch_is_computed_makes_up_the_next_one() -> None:
    sizes, is_first_begun, may_end = [], threading.Event(), threading.Event()

    def answer(items: list[int]) -> list[int]:
        sizes.append(len(items))
        is_first_begun.set()
        may_end.wait(30)
        return items

    batcher = Batcher(answer, max_batch=64)

    async def clients() -> None:
        first = asyncio.create_task(batcher.submit([0]))
        while not is_first_begun.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.submit([i])) for i in range(1, 50)]
        await asyncio.sleep(0)
        may_end.set()
        assert await asyncio.gather(first, *others) == [[i] for i in range(50)]

    served(batcher, clients)
    assert sizes == [1, 49]


def test_a_batch_is_closed_once_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_LENGTH", 10)
    batches: list[list[int]] = []
    batcher = Batcher(lambda items: batches.append(items) or items, max_batch=5, length=lambda item: item)
    items = [4, 4, 4, 25, 3, 9, 1, 1, 1, 1, 1, 1]
    assert served(batcher, lambda: batcher.submit(items)) == items
    assert batches == [[4, 4, 4], [25], [3, 9], [1, 1, 1, 1, 1], [1]]


@pytest.mark.parametrize("error", [ValueError("no 3"), MemoryError()])
def test_an_item_that_cannot_be_answered_fails_alone(error: Exception) -> None:
    def answer(items: list[int]) -> list[int]:
        if 3 in items:
            raise error
        return [10 * item for item in items]

    batcher = Batcher(answer)
    requests = [batcher.submit([1, 2]), batcher.submit([3, 4]), batcher.submit([5])]
    found = served(batcher, lambda: asyncio.gather(*requests, return_exceptions=True))
    assert found == [[10, 20], error, [50]]
    assert batcher.waiting == 0


def test_an_answer_too_few_is_an_error_and_the_next_batch_is_answered() -> None:
    batcher = Batcher(lambda items: items[:-1] if len(items) == 1 else items)

    async def clients() -> Any:
        with pytest.raises(RuntimeError, match="1 items got 0 answers"):
            await batcher.submit([1])
        return await batcher.submit([1, 2])

    assert served(batcher, clients) == [1, 2]


def test_beyond_max_waiting_items_are_refused_until_others_are_answered() -> None:
    may_end = threading.Event()
    batcher = Batcher(lambda items: may_end.wait(30) and items, max_batch=2, max_waiting=5)

    async def clients() -> None:
        large = asyncio.create_task(batcher.submit(list(range(9))))  # when nothing waits any size is taken
        await asyncio.sleep(0)
        assert batcher.waiting == 9
        with pytest.raises(Busy, match="9 texts are waiting, at most 5 may"):
            await batcher.submit([1])
        with pytest.raises(Busy):
            batcher.alone(lambda: None)
        may_end.set()
        assert await large == list(range(9))
        assert batcher.waiting == 0
        assert await batcher.submit([1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]

    served(batcher, clients)


def test_a_call_alone_takes_its_turn_in_the_thread_of_the_batches() -> None:
    order: list[Any] = []

    def answer(items: list[int]) -> list[int]:
        order.append((items, threading.current_thread().name))
        return items

    batcher = Batcher(answer)

    async def clients() -> Any:
        await batcher.submit([1])
        future = batcher.alone(lambda: order.append(("alone", threading.current_thread().name)) or "done", size=4)
        assert batcher.waiting == 4
        assert await future == "done"
        await batcher.submit([2])
        with pytest.raises(ZeroDivisionError):
            await batcher.alone(lambda: 1 / 0)
        await asyncio.sleep(0)
        return batcher.waiting

    assert served(batcher, clients) == 0
    assert [what for what, _ in order] == [[1], "alone", [2]]
    assert len({thread for _, thread in order}) == 1


def test_a_cancelled_request_does_not_disturb_the_others() -> None:
    may_end = threading.Event()
    batcher = Batcher(lambda items: may_end.wait(30) and items)

    async def clients() -> Any:
        gone, other = (asyncio.create_task(batcher.submit([i])) for i in (1, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        may_end.set()
        return await other, batcher.waiting

    found, waiting = served(batcher, clients)
    assert (found, waiting) == ([2], 0)
