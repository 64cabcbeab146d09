"""A run's pairs of texts: read, tokenised and batched; what sequence-to-sequence training begins with."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from agents.running.data import build_loader, facts_of
from agents.running.text_data import TextArtifacts, saved_tokenizer, tokenizer_shape, trains_tokenizer
from agents.running.trained_run import run_folder
from agents.translating.pair_corpus import PairCorpus
from datasets import PAIR_DATASETS, TOKENIZERS
from datasets.batches.bpe_dropout import BPEDropout
from datasets.batches.pairs import PairExamples
from datasets.rows.records import Record
from datasets.store.file_hashes import files_hash
from datasets.store.store import data_hash, open_store
from datasets.tokenizers.pair import TokenizerPair, sides_of
from utils.config.config import Config
from utils.config.schema import blamed_on, construct
from utils.distributed.worker import Worker
from utils.errors import DataError
from utils.files.hub import is_published
from utils.runs.run_report import describe_rows

logger = logging.getLogger("glassbox")
FREE = ("num_workers", "cache_folder", "max_row_bytes")
PATHS = ("train", "valid", "test")
UNSHAPING = {*FREE, *PATHS, "long_pairs", "bpe_dropout"}  # of the tokens
TRIED, MAX_CHANGED = 200, 0.05  # targets that are decoded again, and the share that may come back as other texts


class PairArtifacts(TextArtifacts):
    """The tokenizer of both sides, or one for each."""

    @classmethod
    def placeholder(cls, config: Config) -> "PairArtifacts":
        source, target = SimpleNamespace(vocab_size=1000), SimpleNamespace(vocab_size=1000)
        return cls(TokenizerPair(source, target) if "target_tokenizer" in config else source)


def build_pair_corpus(config: Config) -> PairCorpus:
    """The data set and how it is read."""
    rows = construct(config, "data", PAIR_DATASETS[config.data.name], config.data)
    corpus: PairCorpus = construct(config, "data", PairCorpus, config.data, rows=rows)
    return corpus


def tokenizer_keys(config: Config) -> list[str]:
    """The sections of the config that describe a tokenizer."""
    return ["tokenizer", *(["target_tokenizer"] if "target_tokenizer" in config else [])]


def build_tokenizers(config: Config) -> Any:
    """The tokenizer, not trained yet, or one for each side."""
    sides = [construct(config, key, TOKENIZERS[config[key].name], config[key]) for key in tokenizer_keys(config)]
    return TokenizerPair(*sides) if len(sides) == 2 else sides[0]


def trained_tokenizers(config: Config) -> Any:
    """The tokenizers of the run that `init_from` names, or of files; None where the run trains its own."""
    if config.init_from is not None:
        return saved_tokenizer(run_folder(Path(config.init_from)))[0]
    if trains_tokenizer(config):
        return None
    sides = [side.read() for side in dict.fromkeys(sides_of(build_tokenizers(config)))]
    return TokenizerPair(*sides) if len(sides) == 2 else sides[0]


def check_pairs(config: Config, corpus: PairCorpus) -> None:
    """Refuse what the data, the tokenizers and where they come from cannot do together. Raises ConfigError."""
    keys = tokenizer_keys(config)
    names = [config[key].name for key in keys]
    if names.count("saved") == 1 and len(names) == 2:
        key = keys[1 - names.index("saved")]
        raise config.error(
            key, f"{key}: both tokenizers must be saved ones, or neither of them; got {' and '.join(names)}"
        )
    if config.init_from is not None and is_published(config.init_from):
        raise config.error(
            "init_from", f"init_from: agent seq2seq begins with the weights of a run of its own, got {config.init_from}"
        )
    if config.data.bpe_dropout and (
        wrong := [key for key, name in zip(keys, names, strict=True) if name == "wordpiece"]
    ):
        raise config.error("data.bpe_dropout", f"data.bpe_dropout needs {wrong[0]}: {{name: byte_bpe}}, got wordpiece")
    columns = getattr(corpus.source, "columns", corpus.fields)
    for key, column in zip(("source", "target"), corpus.fields, strict=True):
        if column not in columns:
            known = ", ".join(columns)
            raise config.error(
                f"data.{key}", f"data.{key}: there is no file for {column!r} in data.train; known: {known}"
            )
    check_ends(config, build_tokenizers(config))


def check_ends(config: Config, tokenizer: Any) -> None:
    """Raise ConfigError for a tokenizer that does not mark where a text begins and ends."""
    for side, key in zip(sides_of(tokenizer), ("tokenizer", "target_tokenizer"), strict=True):
        if side.special is not None and not all(side.special.single):
            key = key if key in config else "tokenizer"
            hint = f"write {key}.special_tokens: true" if "special_tokens" in config[key] else "this one does not"
            raise config.error(key, f"{key} must put a token before and after each text; {hint}")


class PairData:
    """The splits of a config as loaders, and what a trained run keeps of them. Writes nothing but caches."""

    def __init__(self, config: Config, worker: Worker) -> None:
        started = time.perf_counter()
        self.config, self.corpus, trained = config, build_pair_corpus(config), trained_tokenizers(config)
        with worker.first_alone("tokens"):
            store = open_store(self.corpus, build_tokenizers(config), pair_shape(config, self.corpus), trained)
        self._data_now = partial(data_hash, self.corpus, pair_shape(config, self.corpus), trained)
        self.artifacts = PairArtifacts(store.tokenizer, store.tokenizer_json)
        check_ends(config, store.tokenizer)
        self.facts = facts_of(store.facts, self.artifacts)
        self.splits = store.splits
        self.examples = {split: self._examples(split) for split in self.corpus.splits}
        warnings = [*store.report.get("warnings", []), *self._describe_changed()]
        self.report = store.report | {"warnings": warnings, "truncated": self._truncated()}
        self.report["sha256"] = files_hash(self.corpus.source, self.corpus.cache_folder)
        self.loaders = {split: build_loader(config, worker, examples) for split, examples in self.examples.items()}
        self.report["seconds"] = time.perf_counter() - started
        for line in [*describe_rows(store.report), *self._describe_long()]:
            logger.info("%s", line)
        for line in warnings:
            logger.warning("warning: %s", line)

    def lines(self, split: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The lines of predictions.jsonl. Raises DataError where the files have changed meanwhile."""
        examples = self.examples[split]
        records = self.corpus.records(split, self.splits[split].rows)
        for record, answer, is_cut in zip(records, answers, examples.truncated, strict=True):
            yield pair_line(record, answer, truncated=bool(is_cut))
        if self._data_now() != self.facts["data"]:
            place = self.corpus.source.files(split if split in self.corpus.source.splits else "train")[0]
            raise DataError(f"{place}: the data has changed since it was tokenised; restore it to resume")

    def _examples(self, split: str) -> PairExamples:
        data = self.splits[split]
        source, target = data.fields
        chosen = np.arange(len(data))
        if split == "train":
            if self.corpus.long_pairs == "drop":
                chosen = chosen[~data.truncated]
            if not len(chosen):
                raise DataError(f"every training pair is longer than data.max_length {self.corpus.max_length}")
            return PairExamples(source, target, chosen, dropout=self._dropout(), seed=self.config.seed)
        texts = [(record.texts[0], record.texts[1]) for record in self.corpus.records(split, data.rows)]
        return PairExamples(source, target, chosen, texts)

    def _dropout(self) -> tuple[BPEDropout, BPEDropout] | None:
        """What re-segments both sides of the training pairs; None without data.bpe_dropout. Raises ConfigError."""
        if not self.corpus.bpe_dropout:
            return None
        options = (self.corpus.bpe_dropout, self.corpus.max_length)
        with blamed_on(self.config, "data", self.config.data):
            source, target = (BPEDropout(side, *options) for side in sides_of(self.artifacts.tokenizer))
        return source, target

    def _truncated(self) -> dict[str, float]:
        return {split: float(data.truncated.mean()) for split, data in self.splits.items() if len(data)}

    def _describe_long(self) -> Iterator[str]:
        """A line for each split with pairs that are longer than data.max_length."""
        for split, data in self.splits.items():
            if count := int(data.truncated.sum()) if len(data) else 0:
                what = "dropped" if split == "train" and self.corpus.long_pairs == "drop" else "cut"
                limit = self.corpus.max_length
                yield f"{split}: {count:,} of {len(data):,} pairs are longer than data.max_length {limit}, and {what}"

    def _describe_changed(self) -> Iterator[str]:
        """A line where many references do not come back from their tokens as they were, so that no model can write them."""
        _, tokenizer = sides_of(self.artifacts.tokenizer)
        texts = (
            [target for _, target in (self.examples["valid"].texts or [])[:TRIED]] if "valid" in self.examples else []
        )
        fold = str.lower if self.config.scoring.lowercase else str
        ids = tokenizer.bare(texts, may_be_empty=True) if texts else None
        changed = sum(fold(tokenizer.decode(ids.text(i).tolist())) != fold(text) for i, text in enumerate(texts) if ids)
        if texts and changed > MAX_CHANGED * len(texts):
            yield (
                f"{changed} of {len(texts)} references of valid are other texts once tokenised and put together again, so that "
                "BLEU cannot be high; tokenizer: byte_bpe keeps all but, with nfc: true, decomposed accents, "
                "and with lower: true goes scoring.lowercase: true"
            )


def pair_shape(config: Config, corpus: PairCorpus) -> dict[str, Any]:
    """All of a config that shapes its tokens."""
    data = {name: value for name, value in config.data.items() if name not in UNSHAPING}
    shape = {"data": data, "task": "pairs", "columns": list(getattr(corpus.source, "columns", ()))}
    return shape | {key: tokenizer_shape(config[key]) for key in tokenizer_keys(config)}


def encode_pairs(corpus: PairCorpus, tokenizer: Any, records: Sequence[Record]) -> PairExamples:
    """Records as examples 0, 1, ..., with their texts."""
    texts = [(record.texts[0], record.texts[1]) for record in records]
    columns, options = zip(*texts, strict=True), corpus.length_options
    source, target = (side.encode(list(c), **options) for side, c in zip(sides_of(tokenizer), columns, strict=True))
    return PairExamples(source, target, np.arange(len(texts)), texts)


def pair_line(record: Record, answer: Mapping[str, Any], *, truncated: bool) -> dict[str, Any]:
    """id, source, reference (if it is known), the answer, truncated."""
    texts = dict(zip(("source", "reference"), record.texts, strict=False))
    return {"id": record.id, **texts, **answer, "truncated": truncated}
