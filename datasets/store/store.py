"""The token store: texts are tokenised once, and then read as memory-mapped integer arrays.

    .cache/tokens/KEY/header.json            labels, counts, the size and sha256 of every array; written last
                      tokenizer.json
                      train.0.ids            int32, the first field's tokens, texts concatenated
                      train.0.offsets        int64, where each text begins
                      train.0.truncated      bool, whether each text was truncated
                      train.0.second_starts  int32, for pairs only: where in each the second text begins
                      train.labels           int64 label ids, or uint8 (N, num_labels) for multi-label; or
                      train.numbers          float32
                      train.rows             int64, the row index of each text in its file

KEY is the sha256 of the files' content, of every option that affects the arrays and of the code that makes them. A store is built
under a temporary name and renamed.
"""

import functools
import hashlib
import json
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import ALL_SAVED
from datasets.batches.examples import EVALUATION
from datasets.batches.text_batch import TextBatch, collate
from datasets.rows.corpus import Corpus, Scan
from datasets.rows.split import SPLITS
from datasets.store.code_hash import code_hash
from datasets.store.file_hashes import content_key
from datasets.store.folder import opened, read_array, read_header, write_header
from datasets.store.writer import KINDS, write_arrays
from datasets.tokenizers.tokens import Tokens
from utils.errors import DataError
from utils.files import strict_json
from utils.files.sealed import digest_of, read_sealed
from utils.files.storage import read_regular

logger = logging.getLogger("glassbox")
FORMAT = 7  # part of the key: a store of another format is never opened
DATA_FORMAT = 4  # part of the data hash in checkpoints, so it must never change
TOKENIZER = "tokenizer.json"
SMALL = 8_000_000  # bytes of text below which starting workers costs more than it saves


@dataclass(frozen=True)
class SplitData:
    """One split: the tokens of each field, its columns by name, such as "label" (N,) or (N, L), and its row indices."""

    fields: list[Tokens]
    columns: dict[str, np.ndarray]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def _lengths(self) -> np.ndarray:
        return np.sum([tokens.padded_lengths for tokens in self.fields], axis=0)

    def lengths(self, epoch: int = EVALUATION) -> np.ndarray:
        """(N,) padded length of each text, summed over the fields; the same in every epoch."""
        return self._lengths

    def collate(self, rows: np.ndarray, epoch: int = EVALUATION, step: int = 0) -> TextBatch:
        """The texts of these rows (B,), padded, with their columns."""
        return collate(self.fields, self.columns, rows)

    @property
    def truncated(self) -> np.ndarray:
        """(N,) whether any field was truncated."""
        return np.any([tokens.truncated for tokens in self.fields], axis=0)


class TokenStore:
    """The tokens of a data set's splits, memory-mapped from a folder."""

    def __init__(self, folder: Path, *, is_new: bool = False) -> None:
        """is_new: this process has just written and hashed the files, and need not hash them again."""
        self.header = read_header(folder, is_new=is_new)
        self.key = folder.name
        self.tokenizer_json = read_regular(folder / TOKENIZER)
        self.tokenizer = parse_tokenizer(self.tokenizer_json)
        self.vocabulary: str = self.header["files"][TOKENIZER][1]  # see `tokenizer_hash`
        self.facts = {
            "data": self.header["data"],
            "vocabulary": self.vocabulary,
            "tokens": digest_of(self.header["files"]),
            "older_tokens": _older_tokens(folder.with_name(self.header["data"])),
        }
        self.labels: list[str] = self.header["labels"]
        self.report: dict[str, Any] = self.header["report"]  # rows read, used and skipped by split
        self.splits = {split: self._split(folder, split) for split in SPLITS}

    def _split(self, folder: Path, split: str) -> SplitData:
        def array(name: str, dtype: Any) -> np.ndarray:
            return read_array(folder / f"{split}.{name}", dtype, is_large=name.endswith("ids"))

        def tokens(i: int) -> Tokens:
            ids, offsets, truncated = (array(f"{i}.{kind}", KINDS[kind]) for kind in ("ids", "offsets", "truncated"))
            second_starts = array(f"{i}.second_starts", KINDS["second_starts"]) if self.header["pair"] else None
            return Tokens(ids, offsets, truncated, self.header["window"], second_starts)

        fields = [tokens(i) for i in range(self.header["num_fields"])]
        columns = {}
        for key, (dtype, width) in self.header["columns"].items():
            columns[key] = array(f"{key}s", dtype).reshape((-1, width) if width else (-1,))
        return SplitData(fields, columns, array("rows", np.int64))


def data_hash(corpus: Corpus, options: dict[str, Any], trained: Any = None) -> str:
    """Hash that identifies a corpus in checkpoints: the present content of its files, and the options that affect the tokens.

    options: plain values; trained: a tokenizer to use as it is instead of training one.
    """
    shape = options | {"format": DATA_FORMAT, "trained": tokenizer_hash(trained) if trained else None}
    return content_key(_files(corpus), shape, Path(corpus.cache_folder) / "hashes.json")[:32]


def open_store(corpus: Corpus, tokenizer: Any, options: dict[str, Any], trained: Any = None) -> TokenStore:
    """Open the store of a corpus, or build it if it is not cached; `options` and `trained` as for `data_hash`."""
    data, used = data_hash(corpus, options, trained), trained or tokenizer
    code = code_hash([corpus, corpus.target, corpus.source, used])
    key = digest_of({"data": data, "format": FORMAT, "code": code})[:32]

    def fill(folder: Path) -> None:
        started = time.perf_counter()
        num_workers = 1 if sum(path.stat().st_size for path in _files(corpus)) < SMALL else corpus.num_workers
        scan = write_arrays(folder, corpus, used, num_workers, is_trained=trained is not None)
        _finish(folder, corpus, scan, used, data)
        if data_hash(corpus, options, trained) != data:
            raise DataError(f"{corpus.source.files('train')[0]}: the data changed while it was being read; start again")
        num_texts = f"{sum(map(len, scan.rows.values())):,}"
        logger.info("tokenised %s texts in %.1f s", num_texts, time.perf_counter() - started)

    return opened(Path(corpus.cache_folder) / "tokens" / key, TokenStore, fill, partial(TokenStore, is_new=True))


def _files(corpus: Corpus) -> list[Path]:
    return [path for split in corpus.source.splits for path in corpus.source.files(split)]


def parse_tokenizer(content: bytes) -> Any:
    """Parse the content of a saved tokenizer file. Raises ValueError for any other content."""
    try:
        values = strict_json.parse(content)
        return ALL_SAVED[values["type"]].from_json(values)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a tokenizer ({type(error).__name__}: {error})") from None


def tokenizer_json(tokenizer: Any) -> str:
    """The content of the tokenizer's file."""
    return json.dumps(tokenizer.to_json(), ensure_ascii=False)


def tokenizer_hash(tokenizer: Any) -> str:
    """sha256 of the vocabulary and everything else that determines the ids."""
    return hashlib.sha256(tokenizer_json(tokenizer).encode()).hexdigest()


def _older_tokens(folder: Path) -> str | None:
    """Digest of the tokens that early versions made of the same data, if still cached; their checkpoints do not record it."""
    try:
        return digest_of(read_sealed(folder / "header.json")["files"])
    except (OSError, ValueError, KeyError):
        return None


def _finish(folder: Path, corpus: Corpus, scan: Scan, tokenizer: Any, data: str) -> None:
    """Write the tokenizer and, last, the header; everything is synced before the folder is renamed."""
    (folder / TOKENIZER).write_bytes(tokenizer_json(tokenizer).encode())
    header = {
        "format": FORMAT,
        "data": data,
        "labels": scan.labels,
        "columns": _columns(corpus, scan),
        "num_fields": corpus.num_encoder_texts,
        "pair": corpus.pair,
        "window": corpus.max_length if corpus.long_texts == "windows" else None,
        "report": scan.report,
    }
    write_header(folder, header)


def _columns(corpus: Corpus, scan: Scan) -> dict[str, tuple[str, int | None]]:
    """{name: (dtype, values per row, or None for a single one)} of the columns of a batch."""
    values = corpus.target.values(scan.label_sets[:1], scan.labels)
    if values is None:
        return {}
    return {str(corpus.target.key): (str(values.dtype), values.shape[1] if values.ndim == 2 else None)}
