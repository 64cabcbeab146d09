"""The token store of documents: their tokens once, as memory-mapped integers that a sequence is cut out of.

    .cache/documents/KEY/header.json        counts, the size and sha256 of every array; written last
                         tokenizer.json
                         train.ids          int32, sentence after sentence, without special tokens
                         train.sentences    int64, where each sentence begins in `ids`
                         train.documents    int64, where each document begins in `sentences`
                         counts             int64, how often each token occurs in the training split

Every pass streams: the memory that it needs does not grow with the corpus, but for the distinct words that the tokenizer's training
counts.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets.hashing import draw
from datasets.rows.documents import Document, DocumentReader
from datasets.rows.split import SPLITS
from datasets.sources.documents import Documents
from datasets.store.code_hash import code_hash
from datasets.store.file_hashes import content_key
from datasets.store.folder import opened, read_array, read_header, write_header
from datasets.store.store import parse_tokenizer, tokenizer_hash, tokenizer_json
from datasets.tokenizers.processes import blocks, chunked
from datasets.tokenizers.vocabulary import is_byte_level
from utils.errors import DataError
from utils.files.sealed import digest_of
from utils.files.storage import read_regular
from utils.machine.progress_bar import StepBar

logger = logging.getLogger("glassbox")
FORMAT = 2
CHUNK = 4096  # sentences that are tokenised together
KINDS = {"ids": np.int32, "sentences": np.int64, "documents": np.int64}


@dataclass(frozen=True)
class DocumentTokens:
    """One split. ids (total,) int32; sentences (S + 1,) int64: where each begins in ids; documents (D + 1,): where in sentences."""

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray

    def __len__(self) -> int:
        """Documents."""
        return len(self.documents) - 1

    @cached_property
    def bounds(self) -> np.ndarray:
        """(D + 1,) where each document begins in ids."""
        return np.asarray(self.sentences[self.documents])


class DocumentStore:
    """The tokens of a corpus' splits, from a folder of the cache."""

    def __init__(self, folder: Path, *, is_new: bool = False) -> None:
        self.header = read_header(folder, is_new=is_new)
        self.tokenizer_json = read_regular(folder / "tokenizer.json")
        self.tokenizer = parse_tokenizer(self.tokenizer_json)
        self.report: dict[str, Any] = self.header["report"]
        self.facts = {"data": self.header["data"], "tokens": digest_of(self.header["files"])}
        self.token_counts = read_array(folder / "counts", np.int64)
        arrays = {
            split: [read_array(folder / f"{split}.{kind}", dtype) for kind, dtype in KINDS.items()] for split in SPLITS
        }
        self.splits = {split: DocumentTokens(*arrays[split]) for split in SPLITS}


@dataclass(frozen=True)
class DocumentCorpus:
    """Documents and how they are split: the shares of train, valid and test, of which one with files of its own has none."""

    source: Documents
    shares: tuple[float, float, float]
    split_seed: int

    def documents(self, reader: DocumentReader, origin: str) -> Iterator[tuple[str, Document]]:
        """(split, document) of the files given for `origin`."""
        given = zip(SPLITS[1:], self.shares[1:], strict=True)
        bounds = np.cumsum([0.0 if split in self.source.splits else share for split, share in given])
        for document in reader.read(self.source.files(origin)):
            if origin == "train":  # the others' shares of its files come first
                place = float(draw(self.split_seed, 0, np.array([document.source]))[0]) / 2**64
                yield (*SPLITS[1:], "train")[int(np.searchsorted(bounds, place, side="right"))], document
            else:
                yield origin, document

    def training_sentences(self, bar: StepBar) -> Iterator[list[str]]:
        """The training split's sentences in chunks; read anew each time."""
        documents = (d for split, d in self.documents(self.source.reader(), "train") if split == "train")
        for number, chunk in enumerate(chunked((s for d in documents for s in d.sentences), CHUNK)):
            bar.update(number * CHUNK)
            yield chunk


def open_documents(
    corpus: DocumentCorpus, tokenizer: Any, options: dict[str, Any], cache_folder: str, trained: Any = None
) -> DocumentStore:
    """The store of a corpus, built where the cache has none. options: all that shapes it; trained: a tokenizer to use as it is."""
    by_split = {split: corpus.source.files(split) for split in corpus.source.splits}
    files = [path for paths in by_split.values() for path in paths]
    sizes = {split: len(paths) for split, paths in by_split.items()}  # which file is of which split
    shape = options | {"format": FORMAT, "files": sizes, "trained": tokenizer_hash(trained) if trained else None}
    data_now = partial(content_key, files, shape, Path(cache_folder) / "hashes.json")
    data = data_now()[:32]
    key = digest_of({"data": data, "code": code_hash([corpus, corpus.source, trained or tokenizer])})[:32]

    def fill(folder: Path) -> None:
        started = time.perf_counter()
        if trained is None:
            with StepBar(None, "vocabulary", "sentences") as bar:
                tokenizer.train(_Again(corpus, bar))
        header = _write(folder, corpus, trained or tokenizer)
        if data_now()[:32] != data:
            raise DataError(f"{files[0]}: the data changed while it was being read; start again")
        write_header(folder, header | {"format": FORMAT, "data": data})
        num_tokens = sum(header["report"][split]["tokens"] for split in SPLITS)
        logger.info("tokenised %s tokens in %.1f s", f"{num_tokens:,}", time.perf_counter() - started)

    folder = Path(cache_folder) / "documents" / key
    return opened(folder, DocumentStore, fill, partial(DocumentStore, is_new=True))


@dataclass(frozen=True)
class _Again:
    """The training sentences as often as a tokenizer asks for them."""

    corpus: DocumentCorpus
    bar: StepBar

    def __iter__(self) -> Iterator[list[str]]:
        return self.corpus.training_sentences(self.bar)


class _SplitFiles:
    """The arrays of one split, appended to chunk by chunk."""

    def __init__(self, folder: Path, split: str, stack: ExitStack) -> None:
        self.files = {kind: stack.enter_context((folder / f"{split}.{kind}").open("wb")) for kind in KINDS}
        self.num_documents = self.num_sentences = self.num_tokens = 0
        for kind in ("sentences", "documents"):
            self.files[kind].write(np.zeros(1, np.int64).tobytes())

    def append(self, ids: np.ndarray, lengths: np.ndarray, ends_document: np.ndarray) -> None:
        """ids: of some sentences; lengths and ends_document (S,) of each sentence, none of them empty."""
        self.files["ids"].write(np.ascontiguousarray(ids, np.int32).data)
        self.files["sentences"].write((self.num_tokens + np.cumsum(lengths, dtype=np.int64)).data)
        ends = self.num_sentences + 1 + np.flatnonzero(ends_document)
        self.files["documents"].write(ends.astype(np.int64).data)
        self.num_documents, self.num_sentences = self.num_documents + len(ends), self.num_sentences + len(lengths)
        self.num_tokens += int(lengths.sum())


def _write(folder: Path, corpus: DocumentCorpus, tokenizer: Any) -> dict[str, Any]:
    """Tokenise all documents into the arrays; -> the header's own values."""
    (folder / "tokenizer.json").write_bytes(tokenizer_json(tokenizer).encode())
    counts, readers = np.zeros(tokenizer.vocab_size, np.int64), {}
    with ExitStack() as stack, StepBar(None, "tokens", "sentences") as bar:
        files = {split: _SplitFiles(folder, split, stack) for split in SPLITS}
        for origin in corpus.source.splits:
            readers[origin] = corpus.source.reader()
            documents = corpus.documents(readers[origin], origin)
            for part in blocks(documents, lambda pair: len(pair[1].sentences), CHUNK):
                for split in {split for split, _ in part}:
                    own = [document.sentences for each, document in part if each == split]
                    ids = _append(files[split], tokenizer, own)
                    counts += np.bincount(ids, minlength=len(counts)) if split == "train" else 0
                bar.update(sum(each.num_sentences for each in files.values()))
    (folder / "counts").write_bytes(counts.tobytes())
    report: dict[str, Any] = {split: _report(files[split], readers.get(split)) for split in SPLITS}
    report["warnings"] = [line for reader in readers.values() for line in reader.warnings]
    return {"report": report}


def _append(files: _SplitFiles, tokenizer: Any, documents: list[list[str]]) -> np.ndarray:
    """Tokenise documents and append them; sentences without a token are left out, and so are documents without one; -> the ids."""
    space = " " if is_byte_level(tokenizer) else ""  # there the space before a word is part of it
    texts = [space * (i > 0) + sentence for document in documents for i, sentence in enumerate(document)]
    tokens = tokenizer.bare(texts, may_be_empty=True)
    lengths = tokens.lengths
    owner = np.repeat(np.arange(len(documents)), [len(document) for document in documents])[lengths > 0]
    files.append(tokens.ids, lengths[lengths > 0], np.diff(owner, append=-1) != 0)
    return tokens.ids


def _report(files: _SplitFiles, reader: DocumentReader | None) -> dict[str, Any]:
    """What a split holds; read = used + skipped, in lines or rows of its own files."""
    sizes = {"documents": files.num_documents, "sentences": files.num_sentences, "tokens": files.num_tokens}
    if reader is None:
        return {"read": 0, "used": 0, "skipped": {}} | sizes
    used = reader.num_read - sum(reader.skipped.values())
    return {"read": reader.num_read, "used": used, "skipped": dict(reader.skipped)} | sizes
