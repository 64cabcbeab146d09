"""Subword tokenisation: one pass to scan, one or two for the vocabulary, one to encode; the library itself uses all cores."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.rows.corpus import Corpus, Scan, read_all
from datasets.rows.records import Record
from datasets.tokenizers import processes as parallel
from datasets.tokenizers.tokens import Tokens
from utils.machine.progress_bar import StepBar


class SubwordSource:
    """Tokens of a corpus from a tokenizer that is trained on texts (`train(chunks)`) and encodes them (`encode`)."""

    def __init__(self, corpus: Corpus, tokenizer: Any, folder: Path, num_workers: int) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer

    def __enter__(self) -> "SubwordSource":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def take(self, origin: str, records: Iterator[Record]) -> np.ndarray:
        """Only compute the text keys."""
        return read_all(origin, records)

    def train(self, scan: Scan) -> None:
        """Learn the vocabulary from the training split alone."""
        rows = scan.rows["train"]
        with StepBar(len(rows), "vocabulary", "texts") as bar:
            self.tokenizer.train(_Texts(self.corpus, rows, bar))

    def tokens(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Tokens of a split's rows in parts, each with all fields."""
        rows = scan.rows[split]
        with StepBar(len(rows), f"tokens of {split}", "texts") as bar:
            for chunk in parallel.chunked(_counted(self.corpus.records(split, rows), bar), parallel.CHUNK):
                columns = zip(*map(self.corpus.encoder_texts, chunk), strict=True)
                yield [self.tokenizer.encode(texts, **self.corpus.length_options) for texts in columns]


@dataclass(frozen=True)
class _Texts:
    """The training texts in chunks, read again at each iteration."""

    corpus: Corpus
    rows: np.ndarray
    bar: StepBar

    def __iter__(self) -> Iterator[list[str]]:
        records = _counted(self.corpus.records("train", self.rows), self.bar)
        for chunk in parallel.chunked(records, parallel.CHUNK):
            texts = [text for record in chunk for text in self.corpus.encoder_texts(record)]
            yield [part for pair in texts for part in pair] if self.corpus.pair else texts


def _counted(records: Iterable[Record], bar: StepBar) -> Iterator[Record]:
    for number, record in enumerate(records):
        if number % parallel.CHUNK == 0:
            bar.update(number)
        yield record
