"""Concurrent requests to one model, answered in batches: an asyncio queue, and one worker thread that owns the model."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MAX_LENGTH = (
    16_384  # characters, about 4,000 tokens: more at a time are no faster on a CPU, and all of them wait for the last
)


class Busy(Exception):
    """More items wait than the server keeps: the client should try again later."""


class Batcher(Generic[Item, Answer]):
    """Answers items in the order in which they came; those that wait while a batch is computed make up the next one.

    All methods belong to one event loop. `run` must be running as a task for `submit` to return.
    """

    def __init__(
        self,
        answer: Callable[[list[Item]], Sequence[Answer]],
        *,
        max_batch: int = 64,
        max_waiting: int = 1024,
        length: Callable[[Item], int] = lambda item: 0,
    ) -> None:
        """answer: called in the worker thread, never twice at a time; gives an answer for each item, in order.

        length: of an item; a batch is closed when it has MAX_LENGTH. Together, long items would only wait for each other.
        """
        self.max_batch, self.max_waiting, self.waiting = max_batch, max_waiting, 0
        self._length = length
        self._answer, self._thread = answer, ThreadPoolExecutor(1, "model")
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[Answer]]] = asyncio.Queue()

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to items, in their order. Raises Busy, or what `answer` raises for one of them alone."""
        self._admit(len(items))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in items]
        for pair in zip(items, futures, strict=True):
            self._queue.put_nowait(pair)
        return await asyncio.gather(*futures)

    def alone(self, call: Callable[[], Any], size: int = 1) -> "asyncio.Future[Any]":
        """Run a call in the worker thread, between two batches; size: the items that it counts as. Raises Busy."""
        self._admit(size)
        future = asyncio.get_running_loop().run_in_executor(self._thread, call)
        future.add_done_callback(lambda _: self._leave(size))
        return future

    async def run(self) -> None:
        """Answer batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            length = self._length(batch[0][0])
            while len(batch) < self.max_batch and length < MAX_LENGTH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
                length += self._length(batch[-1][0])
            answers = await loop.run_in_executor(self._thread, self._answers, [item for item, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():  # its request was cancelled
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            self._leave(len(batch))

    def close(self) -> None:
        """End the worker thread once it is idle."""
        self._thread.shutdown(wait=False)

    def _answers(self, items: list[Item]) -> list[Answer | Exception]:
        """An answer or an error for each item. If a batch fails, each item is tried alone: only the cause gets the error."""
        try:
            answers = list(self._answer(items))
            if len(answers) != len(items):
                raise RuntimeError(f"{len(items)} items got {len(answers)} answers")
            return [*answers]
        except Exception as error:
            return [error] if len(items) == 1 else [each for item in items for each in self._answers([item])]

    def _admit(self, size: int) -> None:
        if self.waiting and self.waiting + size > self.max_waiting:
            raise Busy(f"{self.waiting:,} texts are waiting, at most {self.max_waiting:,} may")
        self.waiting += size

    def _leave(self, size: int) -> None:
        self.waiting -= size
