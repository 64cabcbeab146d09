"""Word tokenisation in one pass: words get provisional numbers on first sight, mapped to vocabulary ids later.

During the scan, workers split texts into words and number the words of each chunk; here the chunks' numbers are mapped to numbers
of the whole corpus, which are written to disk. Once the training rows are known, their words are counted, the frequent ones get
vocabulary ids, and the numbers are read back in parts and mapped to ids.
"""

import functools
import gc
import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from datasets.rows.corpus import Corpus, Scan
from datasets.rows.records import Record
from datasets.rows.split import text_key
from datasets.tokenizers import processes as parallel
from datasets.tokenizers.long_texts import fit
from datasets.tokenizers.ngrams import FIRST_WORD
from datasets.tokenizers.tokens import Tokens
from datasets.tokenizers.word import UNKNOWN, UNKNOWN_ID, WordTokenizer
from utils.errors import DataError
from utils.machine.progress_bar import StepBar

BLOCK = 2048  # records converted to ids at a time: memory is constant, and they fit the processor's cache


class WordSource:
    """Tokens of a corpus from a vocabulary of words, with n-grams if the tokenizer has them."""

    def __init__(self, corpus: Corpus, tokenizer: WordTokenizer, folder: Path, num_workers: int) -> None:
        self.corpus, self.tokenizer, self.num_workers = corpus, tokenizer, num_workers
        self.num_fields = corpus.num_encoder_texts
        self._numbers = {UNKNOWN: 0}  # of every word; a text without words is one unknown word
        self._folder = folder
        self._workers = parallel.Workers(
            partial(number_words, tokenizer.split, is_joined=corpus.join_fields), num_workers
        )
        self._files: dict[str, IO[bytes]] = {}
        self._lengths: dict[str, array[int]] = {}  # of every text, num_fields texts per record

    def __enter__(self) -> "WordSource":
        gc.disable()  # it would search every list of words for cycles, and there are none: 7% of the time
        return self

    def __exit__(self, *exception: object) -> None:
        gc.enable()
        self._workers.close()
        for file in self._files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def take(self, origin: str, records: Iterator[Record]) -> np.ndarray:
        """Split the texts of a file into words, and number them."""
        file = self._files[origin] = (self._folder / f"{origin}.words").open("wb")
        lengths = self._lengths[origin] = array("i")
        keys = [np.zeros(0, dtype=np.uint64)]
        texts = ([record.texts for record in chunk] for chunk in parallel.chunked(records, parallel.CHUNK))
        with StepBar(None, f"reading {origin}", "texts") as bar:
            for words, numbers, counts, chunk_keys in self._workers.map(texts):
                known = self._numbers
                places = np.fromiter((known.setdefault(word, len(known)) for word in words), np.int32, len(words))
                file.write(places[numbers].data)
                lengths.frombytes(counts.tobytes())
                keys.append(chunk_keys)
                bar.update(len(lengths) // self.num_fields)
        file.close()
        return np.concatenate(keys)

    def train(self, scan: Scan) -> None:
        """Learn the words of the training split, then its bigrams, trigrams, ..."""
        counts = np.zeros(len(self._numbers), dtype=np.int64)
        for fields in self._numbered("train", scan):
            for tokens in fields:
                counts += np.bincount(tokens.ids, minlength=len(counts))
        counts[0] = 0
        self.tokenizer.set_vocabulary(Counter(dict(zip(self._numbers, counts.tolist(), strict=True))))
        if len(self.tokenizer.words) == FIRST_WORD:
            minimum = self.tokenizer.min_count
            raise DataError(f"tokenizer.min_count: {minimum} leaves no word of the training texts; lower it")
        table = self.tokenizer.ngram_table
        for level in range(2, table.order + 1):
            parts = (tokens for fields in self._words("train", scan) for tokens in fields)
            table.fit(parts, len(self.tokenizer.words), level)

    def tokens(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Tokens of a split's rows in parts, each with all fields."""
        with StepBar(len(scan.rows[split]), f"tokens of {split}", "texts") as bar:
            with parallel.Workers(self._with_ngrams, self.num_workers, are_threads=True) as workers:
                for done, fields in enumerate(workers.map(self._words(split, scan))):
                    yield fields
                    bar.update(done * BLOCK)

    def _with_ngrams(self, fields: list[Tokens]) -> list[Tokens]:
        return [self.tokenizer.add_ngrams(tokens) for tokens in fields]

    def _words(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Word ids, truncated or windowed to max_length."""
        ids, options = self._word_ids, self.corpus.length_options
        for fields in self._numbered(split, scan):
            yield [fit(Tokens(ids[t.ids], t.offsets, t.truncated), **options) for t in fields]

    @functools.cached_property
    def _word_ids(self) -> np.ndarray:
        """The vocabulary id of every provisional number."""
        get = self.tokenizer.ids.get
        return np.fromiter((get(word, UNKNOWN_ID) for word in self._numbers), np.int32, len(self._numbers))

    def _numbered(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Word numbers of a split's rows, read back block by block."""
        origin = split if split in self._files else "train"
        path, lengths = Path(self._files[origin].name), np.frombuffer(self._lengths[origin], dtype=np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        records = np.searchsorted(scan.used[origin], scan.rows[split])  # indices among the records taken
        for start in range(0, len(records), BLOCK):
            texts = records[start : start + BLOCK] * self.num_fields
            first, last = texts[0], texts[-1] + self.num_fields
            span = _read(path, offsets[first], offsets[last])
            block = Tokens(span, offsets[first : last + 1] - offsets[first], np.zeros(last - first, dtype=bool))
            yield [block.select(texts - first + i) for i in range(self.num_fields)]


def number_words(
    split: Callable[[str], list[str]], records: list[tuple[str, ...]], *, is_joined: bool
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Number the words of records, each field a text or all fields joined; runs in the workers.

    -> (distinct words, the index of every word among them, the number of words of each text, the text key of each record).
    """
    words: list[str] = []
    texts = [" ".join(fields) for fields in records] if is_joined else [text for fields in records for text in fields]
    counts = np.empty(len(texts), dtype=np.int32)
    for i, text in enumerate(texts):
        found = split(text) or [UNKNOWN]
        counts[i] = len(found)
        words += found
    places: defaultdict[str, int] = defaultdict(itertools.count().__next__)  # a new word gets the next number
    numbers = np.fromiter(map(places.__getitem__, words), np.int32, len(words))
    return list(places), numbers, counts, np.fromiter(map(text_key, records), np.uint64, len(records))


def _read(path: Path, start: int, end: int) -> np.ndarray:
    """Numbers start to end of a file, memory-mapped, so that only pages in use take memory."""
    if end == start:
        return np.zeros(0, dtype=np.int32)
    return np.asarray(np.memmap(path, np.int32, mode="r", offset=4 * start, shape=(end - start,)))
