"""The arrays of a token store: the training of its tokenizer, and the tokens, labels and row numbers of every split."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.corpus import Corpus, Scan
from datasets.parallel import chunked, parallel_map
from datasets.records import Record
from datasets.split import SPLITS
from datasets.tokens import Tokens
from utils.run_log import StepBar

CHUNK = 1000  # records a worker gets at a time
KINDS = {"ids": np.int32, "offsets": np.int64, "truncated": np.bool_}


def train_tokenizer(tokenizer: Any, corpus: Corpus, scan: Scan, num_workers: int) -> None:
    """Learn the vocabulary from the training split alone."""
    with StepBar(len(scan.rows["train"]), "vocabulary", "texts") as bar:
        chunks = _TrainingChunks(corpus, scan, bar)
        tokenizer.train(chunks, lambda function: parallel_map(function, chunks, num_workers))


@dataclass(frozen=True)
class _TrainingChunks:
    """The training texts in chunks, read anew as often as a tokenizer asks for them."""

    corpus: Corpus
    scan: Scan
    bar: StepBar

    def __iter__(self) -> Iterator[list[str]]:
        return _text_chunks(self.corpus, self.corpus.records("train", self.scan.rows["train"]), self.bar)


def _text_chunks(corpus: Corpus, records: Iterable[Record], bar: StepBar) -> Iterator[list[str]]:
    for done, chunk in enumerate(chunked(records, CHUNK)):
        bar.update(done * CHUNK)
        yield [text for record in chunk for text in corpus.encoder_texts(record)]


class ArrayWriter:
    """Writes the arrays of every split into a folder."""

    def __init__(self, folder: Path, corpus: Corpus, scan: Scan, tokenizer: Any, num_workers: int) -> None:
        self.folder, self.corpus, self.scan = folder, corpus, scan
        self.tokenizer, self.num_workers = tokenizer, num_workers
        self.num_fields = 1 if corpus.join_fields else len(corpus.fields)

    def run(self, *, is_trained: bool) -> None:
        """Words first; then, where the tokenizer has n-grams, they are learnt from the training words and added; then labels."""
        for split in SPLITS:
            with StepBar(len(self.scan.rows[split]), f"tokens of {split}", "texts") as bar:
                self._write(split, self._words(split, bar), "")
        table = getattr(self.tokenizer, "ngram_table", None)
        if table is not None and table.order > 1:
            if not is_trained:
                for level in range(2, table.order + 1):
                    table.fit(self._stored("train"), len(self.tokenizer.words), level)
            for split in SPLITS:
                self._write(split, self._with_ngrams(split), ".new")
                for path in self.folder.glob("*.new"):
                    path.rename(path.with_suffix(""))
        for split in SPLITS:
            labels = _label_array(self.scan, split, self.corpus.label_separator is not None)
            (self.folder / f"{split}.labels").write_bytes(labels.tobytes())
            (self.folder / f"{split}.rows").write_bytes(self.scan.rows[split].astype(np.int64).tobytes())

    def _words(self, split: str, bar: StepBar) -> Iterator[list[Tokens]]:
        chunks = _text_chunks(self.corpus, self.corpus.records(split, self.scan.rows[split]), bar)
        for tokens in parallel_map(self._encode, chunks, self.num_workers):
            yield [_every(tokens, self.num_fields, i) for i in range(self.num_fields)]

    def _encode(self, texts: list[str]) -> Tokens:
        return self.tokenizer.encode_words(texts, self.corpus.max_length)

    def _stored(self, split: str) -> Iterator[Tokens]:
        for i in range(self.num_fields):
            arrays: dict[str, Any] = {
                kind: np.fromfile(self.folder / f"{split}.{i}.{kind}", KINDS[kind]) for kind in KINDS
            }
            yield Tokens(**arrays)

    def _with_ngrams(self, split: str) -> Iterator[list[Tokens]]:
        yield [self.tokenizer.add_ngrams(tokens) for tokens in self._stored(split)]

    def _write(self, split: str, parts: Iterator[list[Tokens]], ending: str) -> None:
        """Append part after part; offsets go on from the part before."""
        names = [(i, kind) for i in range(self.num_fields) for kind in KINDS]
        files = {(i, kind): (self.folder / f"{split}.{i}.{kind}{ending}").open("wb") for i, kind in names}
        try:
            ends = [0] * self.num_fields
            for i in range(self.num_fields):
                files[i, "offsets"].write(np.zeros(1, np.int64).tobytes())
            for part in parts:
                for i, tokens in enumerate(part):
                    files[i, "ids"].write(np.ascontiguousarray(tokens.ids, np.int32).tobytes())
                    files[i, "offsets"].write((tokens.offsets[1:] + ends[i]).tobytes())
                    files[i, "truncated"].write(tokens.truncated.tobytes())
                    ends[i] += int(tokens.offsets[-1])
        finally:
            for file in files.values():
                file.close()


def _label_array(scan: Scan, split: str, is_multi_label: bool) -> np.ndarray:
    ids = {label: id for id, label in enumerate(scan.labels)}
    numbers = scan.label_numbers[split]
    if not is_multi_label:
        return np.array([ids.get(labels[0], 0) for labels in scan.label_sets], dtype=np.int64)[numbers]
    sets = np.zeros((len(scan.label_sets), len(scan.labels)), dtype=np.uint8)
    for row, labels in enumerate(scan.label_sets):
        sets[row, [ids[label] for label in labels if label in ids]] = 1
    return sets[numbers]


def _every(tokens: Tokens, step: int, start: int) -> Tokens:
    """Every step-th text from start on: the texts of one field, where a chunk holds those of all."""
    if step == 1:
        return tokens
    is_taken = np.arange(len(tokens)) % step == start
    ids = tokens.ids[np.repeat(is_taken, tokens.lengths)]
    return Tokens.from_lengths(ids, tokens.lengths[is_taken], tokens.truncated[is_taken])
