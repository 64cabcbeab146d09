"""A run's pairs of texts: read, tokenised and batched; what sequence-to-sequence training begins with."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from agents.running.text_data import TextArtifacts, initial_tokenizer
from agents.translating.pair_corpus import PairCorpus
from datasets import PAIR_DATASETS, TOKENIZERS
from datasets.batches.bpe_dropout import BPEDropout
from datasets.batches.loader import Loader
from datasets.batches.pairs import PairExamples
from datasets.rows.records import Record
from datasets.store.store import open_store
from datasets.tokenizers.pair import TokenizerPair, sides_of
from utils.config.config import Config
from utils.config.schema import blamed_on, construct
from utils.distributed.worker import Worker
from utils.errors import DataError
from utils.runs.run_report import describe_rows

logger = logging.getLogger("glassbox")
FREE = ("num_workers", "cache_folder", "max_row_bytes")
PATHS = ("train", "valid", "test")
UNSHAPING = {*FREE, *PATHS, "long_pairs", "bpe_dropout"}  # of the tokens


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


def build_tokenizers(config: Config) -> Any:
    """The tokenizer, not trained yet, or one for each side."""
    keys = ["tokenizer", *(["target_tokenizer"] if "target_tokenizer" in config else [])]
    sides = [construct(config, key, TOKENIZERS[config[key].name], config[key]) for key in keys]
    return TokenizerPair(*sides) if len(sides) == 2 else sides[0]


class PairData:
    """The splits of a config as loaders, and what a trained run keeps of them. Writes nothing but caches."""

    def __init__(self, config: Config, worker: Worker) -> None:
        started = time.perf_counter()
        self.corpus, trained = build_pair_corpus(config), initial_tokenizer(config)
        data = {name: value for name, value in config.data.items() if name not in UNSHAPING}
        shape = {"data": data, "tokenizer": dict(config.tokenizer), "task": "pairs"}
        shape |= {"target_tokenizer": dict(config.target_tokenizer)} if "target_tokenizer" in config else {}
        with worker.first_alone("tokens"):
            store = open_store(self.corpus, build_tokenizers(config), shape, trained)
        self.artifacts = PairArtifacts(store.tokenizer, store.tokenizer_json)
        check_ends(config, store.tokenizer)
        self.config, self.splits, warnings = config, store.splits, list(store.report.get("warnings", []))
        self.examples = {split: self._examples(split) for split in self.corpus.splits}
        self.report = store.report | {"warnings": warnings, "truncated": self._truncated()}
        sizes = {name: config.train[name] for name in ("batch_size", "batch_tokens", "accumulation_steps")}
        places = {"seed": config.seed, "rank": worker.rank, "num_ranks": worker.size}
        self.loaders = {split: Loader(examples, **sizes, **places) for split, examples in self.examples.items()}
        self.facts = store.facts | {name: found for name, (_, found) in self.artifacts.hashes.items()}
        self.report["seconds"] = time.perf_counter() - started
        for line in [*describe_rows(store.report), *self._describe_long()]:
            logger.info("%s", line)
        for line in warnings:
            logger.warning("warning: %s", line)

    def lines(self, split: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The lines of predictions.jsonl."""
        examples = self.examples[split]
        records = self.corpus.records(split, self.splits[split].rows)
        for record, answer, is_cut in zip(records, answers, examples.truncated, strict=True):
            yield pair_line(self.corpus, record, answer, truncated=bool(is_cut))

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
        """What segments both sides of the training pairs anew; None without data.bpe_dropout. Raises ConfigError."""
        if not self.corpus.bpe_dropout:
            return None
        with blamed_on(self.config, "data", self.config.data):
            source, target = (BPEDropout(side, self.corpus.bpe_dropout) for side in sides_of(self.artifacts.tokenizer))
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


def check_ends(config: Config, tokenizer: Any) -> None:
    """Raise ConfigError for a tokenizer that does not mark where a text begins and ends."""
    for side, key in zip(sides_of(tokenizer), ("tokenizer", "target_tokenizer"), strict=True):
        if side.special is not None and not all(side.special.single):
            key = key if key in config else "tokenizer"
            raise config.error(
                key, f"{key} must put a token before and after each text; write {key}.special_tokens: true"
            )


def encode_pairs(corpus: PairCorpus, tokenizer: Any, records: Sequence[Record]) -> PairExamples:
    """Records as examples 0, 1, ..., with their texts."""
    texts = [(record.texts[0], record.texts[1]) for record in records]
    columns, options = zip(*texts, strict=True), corpus.length_options
    source, target = (side.encode(list(c), **options) for side, c in zip(sides_of(tokenizer), columns, strict=True))
    return PairExamples(source, target, np.arange(len(texts)), texts)


def pair_line(corpus: PairCorpus, record: Record, answer: Mapping[str, Any], *, truncated: bool) -> dict[str, Any]:
    """id, source, reference (if it is known), the answer, truncated."""
    names = ("source", "reference")
    texts = dict(zip(names, record.texts, strict=False))
    return {"id": record.id, **texts, **answer, "truncated": truncated}
