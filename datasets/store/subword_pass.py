"""Subword tokenisation: one pass to scan, one or two for the vocabulary, one to encode; the library itself uses all cores."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.rows.corpus import Corpus, Scan, read_all
from datasets.rows.records import Record
from datasets.tokenizers import processes as parallel
from datasets.tokenizers.pair import TokenizerPair, sides_of
from datasets.tokenizers.tokens import Tokens
from utils.machine.progress_bar import StepBar


class SubwordSource:
    """Tokens of a corpus from a tokenizer that is trained on texts (`train(chunks)`) and encodes them (`encode`)."""

    def __init__(self, corpus: Corpus, tokenizer: Any, folder: Path, num_workers: int) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer
        is_pair = isinstance(tokenizer, TokenizerPair)
        self.sides = sides_of(tokenizer) if is_pair else (tokenizer,) * corpus.num_encoder_texts  # of each text

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
            if isinstance(self.tokenizer, TokenizerPair):
                for number, side in enumerate(self.sides):
                    side.train(_Texts(self.corpus, rows, bar, number))
            else:
                self.tokenizer.train(_Texts(self.corpus, rows, bar))

    def tokens(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Tokens of a split's rows in parts, each with all fields."""
        rows = scan.rows[split]
        with StepBar(len(rows), f"tokens of {split}", "texts") as bar:
            for chunk in parallel.chunked(_counted(self.corpus.records(split, rows), bar), parallel.CHUNK):
                columns = list(zip(*map(self.corpus.encoder_texts, chunk), strict=True))
                options = self.corpus.length_options
                yield [side.encode(texts, **options) for side, texts in zip(self.sides, columns, strict=True)]


@dataclass(frozen=True)
class _Texts:
    """The training texts in chunks, read again at each iteration; number: of the one text of a record, None for all."""

    corpus: Corpus
    rows: np.ndarray
    bar: StepBar
    number: int | None = None

    def __iter__(self) -> Iterator[list[str]]:
        records = _counted(self.corpus.records("train", self.rows), self.bar)
        for chunk in parallel.chunked(records, parallel.CHUNK):
            if self.number is not None:
                yield [self.corpus.encoder_texts(record)[self.number] for record in chunk]
                continue
            texts = [text for record in chunk for text in self.corpus.encoder_texts(record)]
            yield [part for pair in texts for part in pair] if self.corpus.pair else texts


def _counted(records: Iterable[Record], bar: StepBar) -> Iterator[Record]:
    for number, record in enumerate(records):
        if number % parallel.CHUNK == 0:
            bar.update(number)
        yield record
