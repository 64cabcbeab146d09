"""The token store: texts become tokens once, and are then read as memory-mapped integer arrays.

    .cache/tokens/KEY/header.json            labels, counts and the size of every array; written last
                      tokenizer.json
                      train.0.ids            int32, the first field's tokens, text after text
                      train.0.offsets        int64, where each text begins
                      train.0.truncated      bool, whether it was cut
                      train.labels           int64 label ids, or uint8 (N, num_labels) for several labels a text
                      train.rows             int64, the number of each text's row in its file

KEY is the sha256 of the files' content and of every option that shapes the arrays. A store is built beside and renamed.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from datasets import SAVED_TOKENIZERS
from datasets.cache import check_writable, content_key
from datasets.corpus import Corpus, Scan
from datasets.parallel import chunked, parallel_map
from datasets.records import Record
from datasets.split import SPLITS
from datasets.tokens import Tokens
from utils.run_log import StepBar
from utils.storage import TEMPORARY, remove, remove_leftovers, storage_errors, sync_folder, write_synced

logger = logging.getLogger("glassbox")
FORMAT = 1
CHUNK = 1000  # records a worker gets at a time
SMALL = 8_000_000  # bytes of text below which starting workers costs more than it saves
KINDS = {"ids": np.int32, "offsets": np.int64, "truncated": np.bool_}


@dataclass(frozen=True)
class SplitData:
    """One split: tokens of each field, labels (N,) int64 or (N, num_labels) uint8, and the numbers of its rows."""

    fields: list[Tokens]
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each text, all fields together."""
        return np.sum([tokens.lengths for tokens in self.fields], axis=0)

    @property
    def truncated(self) -> np.ndarray:
        """(N,) whether any field was cut."""
        return np.any([tokens.truncated for tokens in self.fields], axis=0)


class TokenStore:
    """The tokens of a data set's splits, mapped from a folder."""

    def __init__(self, folder: Path) -> None:
        self.header = _read_header(folder)
        self.key = folder.name
        self.tokenizer = load_tokenizer(folder / "tokenizer.json")
        self.labels: list[str] = self.header["labels"]
        self.report: dict[str, Any] = self.header["report"]  # rows read, used and skipped by split
        self.splits = {split: self._split(folder, split) for split in SPLITS}

    def _split(self, folder: Path, split: str) -> SplitData:
        def array(name: str, dtype: Any) -> np.ndarray:
            path = folder / f"{split}.{name}"
            return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)

        fields = [
            Tokens(**{kind: array(f"{i}.{kind}", KINDS[kind]) for kind in KINDS})
            for i in range(self.header["num_fields"])
        ]
        shape = (-1, len(self.labels)) if self.header["multi_label"] else (-1,)
        labels = array("labels", np.uint8 if self.header["multi_label"] else np.int64).reshape(shape)
        return SplitData(fields, labels, array("rows", np.int64))


def open_store(corpus: Corpus, tokenizer: Any, options: dict[str, Any], trained: Any = None) -> TokenStore:
    """The store of a corpus, built where the cache has none.

    options: all that shapes it, as plain values; trained: a tokenizer to use as it is instead of training `tokenizer`.
    """
    root = Path(corpus.cache_folder) / "tokens"
    check_writable(root)
    files = [path for split in corpus.source.splits for path in corpus.source.files(split)]
    shape = options | {"format": FORMAT, "trained": tokenizer_hash(trained) if trained else None}
    folder = root / content_key(files, shape, root.parent / "hashes.json")[:32]
    store = _try_open(folder)
    if store is None:
        with filelock.FileLock(root / f".{folder.name}.lock"):
            store = _try_open(folder) or _build(
                folder, corpus, tokenizer, trained, sum(path.stat().st_size for path in files)
            )
    return store


def load_tokenizer(path: Path) -> Any:
    """A saved tokenizer. Raises ValueError where the file is not one."""
    values = json.loads(path.read_bytes())
    return SAVED_TOKENIZERS[values["type"]].from_json(values)


def tokenizer_json(tokenizer: Any) -> str:
    """The tokenizer as the text of its file."""
    return json.dumps(tokenizer.to_json(), ensure_ascii=False)


def tokenizer_hash(tokenizer: Any) -> str:
    """sha256 of the vocabulary and all else that makes ids of texts."""
    return hashlib.sha256(tokenizer_json(tokenizer).encode()).hexdigest()


def _try_open(folder: Path) -> TokenStore | None:
    if not folder.exists():
        return None
    try:
        return TokenStore(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("warning: %s: is damaged (%s) and is built anew", folder, error)
        remove(folder)
        return None


def _read_header(folder: Path) -> dict[str, Any]:
    header = json.loads((folder / "header.json").read_bytes())
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']}")
    for name, size in header["sizes"].items():
        if (folder / name).stat().st_size != size:
            raise ValueError(f"{name} has not {size:,} bytes")
    return dict(header)


def _build(folder: Path, corpus: Corpus, tokenizer: Any, trained: Any, num_bytes: int) -> TokenStore:
    started = time.perf_counter()
    num_workers = 1 if num_bytes < SMALL or (trained or tokenizer).is_parallel else corpus.num_workers
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}")
    with storage_errors(folder):
        remove_leftovers(folder.parent)
        temporary.mkdir(parents=True)
        try:
            scan = corpus.scan()
            if trained is None:
                _train(tokenizer, corpus, scan, num_workers)
            _Builder(temporary, corpus, scan, trained or tokenizer, num_workers).run(is_trained=trained is not None)
            _finish(temporary, corpus, scan, trained or tokenizer)
            temporary.rename(folder)
            sync_folder(folder.parent)
        finally:
            if temporary.exists():
                remove(temporary)
    logger.info("tokenised %s texts in %.1f s", f"{sum(map(len, scan.rows.values())):,}", time.perf_counter() - started)
    return TokenStore(folder)


def _train(tokenizer: Any, corpus: Corpus, scan: Scan, num_workers: int) -> None:
    """Learn the vocabulary from the training split alone."""
    with StepBar(len(scan.rows["train"]), "vocabulary", "texts") as bar:
        chunks = _text_chunks(corpus, corpus.records("train", scan.rows["train"]), bar)
        tokenizer.train(chunks, lambda function: parallel_map(function, chunks, num_workers))


def _text_chunks(corpus: Corpus, records: Iterable[Record], bar: StepBar) -> Iterator[list[str]]:
    for done, chunk in enumerate(chunked(records, CHUNK)):
        bar.update(done * CHUNK)
        yield [text for record in chunk for text in corpus.encoder_texts(record)]


class _Builder:
    """Writes the arrays of every split into a folder."""

    def __init__(self, folder: Path, corpus: Corpus, scan: Scan, tokenizer: Any, num_workers: int) -> None:
        self.folder, self.corpus, self.scan = folder, corpus, scan
        self.tokenizer, self.num_workers = tokenizer, num_workers
        self.num_fields = 1 if corpus.join_fields else len(corpus.fields)

    def run(self, *, is_trained: bool) -> None:
        """Words first; then, where the tokenizer has n-grams, they are learnt from the training words and added."""
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


def _finish(folder: Path, corpus: Corpus, scan: Scan, tokenizer: Any) -> None:
    """Labels, row numbers, the tokenizer and, last, the header; everything on the disk before the folder gets its name."""
    for split in SPLITS:
        (folder / f"{split}.labels").write_bytes(
            _label_array(scan, split, corpus.label_separator is not None).tobytes()
        )
        (folder / f"{split}.rows").write_bytes(scan.rows[split].astype(np.int64).tobytes())
    (folder / "tokenizer.json").write_text(tokenizer_json(tokenizer), encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    header = {
        "format": FORMAT,
        "labels": scan.labels,
        "multi_label": corpus.label_separator is not None,
        "num_fields": 1 if corpus.join_fields else len(corpus.fields),
        "report": scan.report,
        "sizes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    write_synced(folder / "header.json", json.dumps(header).encode())
    sync_folder(folder)


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
