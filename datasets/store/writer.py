"""Writer of a token store's arrays: the tokens, labels and row indices of every split.

The passes depend on the kind of tokenizer: words are split during the scan (word_pass.py), subwords in passes of their own
(subword_pass.py).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from datasets.rows.corpus import Corpus, Scan
from datasets.rows.records import Record
from datasets.rows.split import SPLITS
from datasets.store.near_duplicates import MIN_SHARE, describe_near_duplicates
from datasets.store.subword_pass import SubwordSource
from datasets.store.word_pass import WordSource
from datasets.tokenizers.tokens import Tokens
from datasets.tokenizers.word import WordTokenizer

KINDS = {"ids": np.int32, "offsets": np.int64, "truncated": np.bool_, "second_starts": np.int32}  # the last: pairs only


class TokenSource(Protocol):
    """Source of tokens. `take` sees every usable record of a file once, during the scan."""

    def take(self, origin: str, records: Iterator[Record]) -> np.ndarray:
        """Consume all records of the file of split `origin`; -> their text keys, (N,) uint64."""

    def train(self, scan: Scan) -> None:
        """Learn the vocabulary from the training split alone."""

    def tokens(self, split: str, scan: Scan) -> Iterator[list[Tokens]]:
        """Tokens of a split's rows in parts, each with all fields."""


def write_arrays(folder: Path, corpus: Corpus, tokenizer: Any, num_workers: int, *, is_trained: bool) -> Scan:
    """Scan the corpus, train the tokenizer unless is_trained, and write the arrays of every split into `folder`; -> the scan."""
    kind = WordSource if isinstance(tokenizer, WordTokenizer) else SubwordSource
    source: TokenSource
    with kind(corpus, tokenizer, folder, num_workers) as source:
        scan = corpus.scan(source.take)
        if not is_trained:
            source.train(scan)
        for split in SPLITS:
            _write(folder, split, source.tokens(split, scan), corpus.num_encoder_texts, is_pair=corpus.pair)
    values = corpus.target.values(scan.label_sets, scan.labels)
    for split in SPLITS:
        if values is not None:
            (folder / f"{split}.{corpus.target.key}s").write_bytes(values[scan.label_numbers[split]].tobytes())
        (folder / f"{split}.rows").write_bytes(scan.rows[split].astype(np.int64).tobytes())
    field = max(range(corpus.num_encoder_texts), key=lambda i: (folder / f"train.{i}.ids").stat().st_size)
    train, *others = (_written(folder, split, field) for split in SPLITS)
    overlap = scan.report["overlap"]  # a large overlap has been reported already
    is_new = {split: overlap[split] < MIN_SHARE * len(scan.rows[split]) for split in SPLITS[1:]}
    splits = {split: texts for split, texts in zip(SPLITS[1:], others, strict=True) if is_new[split]}
    skipped_ids = [tokenizer.unknown_id, *tokenizer.special.ids]
    scan.report["warnings"] += describe_near_duplicates(splits, train, skipped_ids)
    return scan


def _written(folder: Path, split: str, field: int) -> Tokens:
    """A field's tokens, memory-mapped from their files."""
    ids, offsets = (folder / f"{split}.{field}.{kind}" for kind in ("ids", "offsets"))
    mapped = np.memmap(ids, KINDS["ids"], mode="r") if ids.stat().st_size else np.zeros(0, KINDS["ids"])
    return Tokens(mapped, np.fromfile(offsets, KINDS["offsets"]), np.zeros(0, dtype=bool))


def _write(folder: Path, split: str, parts: Iterator[list[Tokens]], num_fields: int, *, is_pair: bool) -> None:
    """Append the parts; offsets continue from one part to the next."""
    names = [(i, kind) for i in range(num_fields) for kind in KINDS if is_pair or kind != "second_starts"]
    files = {(i, kind): (folder / f"{split}.{i}.{kind}").open("wb") for i, kind in names}
    try:
        ends = [0] * num_fields
        for i in range(num_fields):
            files[i, "offsets"].write(np.zeros(1, np.int64).tobytes())
        for part in parts:
            for i, tokens in enumerate(part):
                files[i, "ids"].write(np.ascontiguousarray(tokens.ids, np.int32).data)
                files[i, "offsets"].write((tokens.offsets[1:] + ends[i]).data)
                files[i, "truncated"].write(np.ascontiguousarray(tokens.truncated).data)
                if tokens.second_starts is not None:
                    files[i, "second_starts"].write(np.ascontiguousarray(tokens.second_starts, np.int32).data)
                ends[i] += int(tokens.offsets[-1])
    finally:
        for file in files.values():
            file.close()
