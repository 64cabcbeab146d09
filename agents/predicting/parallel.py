"""Texts in chunks, predicted by several processes of one machine: --jobs."""

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from agents.running.predictor import CHUNK, Predictor
from datasets.rows.records import Record, Skipped
from datasets.tokenizers.processes import Workers
from utils.errors import ConfigError, DistributedError

CHARACTERS = 2**24  # of a chunk, which the text that exceeds them ends


def chunks_of(records: Iterable[Record | Skipped]) -> Iterator[list[Record | Skipped]]:
    """Lists of records, cut where their number or the length of their texts says: the same for the same records."""
    chunk, size = list[Record | Skipped](), 0
    for record in records:
        chunk.append(record)
        size += sum(map(len, record.texts)) if isinstance(record, Record) else 0
        if len(chunk) == CHUNK or size >= CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class Jobs:
    """Processes that share the work of one, or under torchrun those that it started. Make it before the Predictor."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.num_threads = max(1, torch.get_num_threads() // number)  # of each process
        if number > 1:
            torch.set_num_threads(1)  # a process in which OpenMP has started threads cannot be forked

    def map(self, predictor: Predictor, function: Callable[[Any], Any], chunks: Iterable[Any]) -> Iterator[Any]:
        """What the function makes of the lines of each chunk, in order. Raises DistributedError where a process dies."""
        gc.freeze()  # the run stays: collections need not look at it, which takes 10% of the time, nor copies copy its pages
        if self.number == 1:
            yield from map(function, predictor.shared(predictor.lines, chunks))
            return
        if predictor.device.type != "cpu":
            raise ConfigError(f"command line: --jobs is for the CPU, not for {predictor.device}; use torchrun")

        def with_threads(chunk: Any) -> Any:
            torch.set_num_threads(self.num_threads)
            return function(predictor.lines(chunk))

        death = DistributedError(f"one of the {self.number} processes of --jobs was killed (out of memory?); use fewer")
        with Workers(with_threads, self.number, death=death) as workers:
            yield from workers.map(chunks)
