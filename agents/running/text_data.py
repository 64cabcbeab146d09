"""A run's texts: read, tokenised and batched; what every task over texts begins with."""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from agents.running.building import build_corpus, build_tokenizer, check_lengths
from agents.running.data import build_loader, facts_of
from agents.running.trained_run import run_folder
from agents.weights.published import published_tokenizer
from datasets import DATASETS, TOKENIZERS
from datasets.rows.corpus import Corpus
from datasets.rows.predictions import prediction_line
from datasets.rows.records import Record
from datasets.rows.targets import LabelTarget, Target
from datasets.store.file_hashes import files_hash
from datasets.store.store import TOKENIZER, SplitData, TokenStore, data_hash, open_store, parse_tokenizer
from datasets.tokenizers.tokens import num_unknown, unknown_share
from datasets.tokenizers.word import WordTokenizer
from utils.config.config import Config
from utils.config.schema import Section, options_of
from utils.distributed.worker import Worker
from utils.errors import CheckpointError, DataError, unreadable
from utils.files.hub import is_published
from utils.files.storage import read_regular
from utils.runs.checkpoint import CheckpointStore, refuse_other
from utils.runs.run_report import describe_rows, describe_truncated
from utils.runs.saved import refuse_export

logger = logging.getLogger("glassbox")
MAX_UNKNOWN = 0.3  # of the tokens of valid and test without a warning; other texts of one kind have 0.02 to 0.2
# The options of `data` and `tokenizer` in the first version.
FIRST_OPTIONS = """name train valid test format encoding delimiter quotes columns folder fields label id multi_label label_separator
    join_fields pair split split_seed max_length long_texts stride on_bad_row limit lower min_count max_size ngrams ngram_min_count
    vocab_size special_tokens"""


def text_sections(target: type[Target]) -> dict[str, Section]:
    """The sections of a config that a task over texts with such a target has."""
    return {
        "data": Section(DATASETS, shared=(Corpus, target), free=("num_workers", "cache_folder", "max_row_bytes")),
        "tokenizer": Section(TOKENIZERS, default="word"),
    }


@dataclass(frozen=True)
class TextArtifacts:
    """The tokenizer, and where a task has labels (agents/classifying/artifacts.py), these."""

    tokenizer: Any
    tokenizer_json: bytes = b""
    labels: Sequence[str] = ()

    @classmethod
    def of(cls, store: TokenStore) -> Self:
        """Those of tokenised data."""
        return cls(store.tokenizer, store.tokenizer_json, store.labels)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(*saved_tokenizer(folder))

    @classmethod
    def placeholder(cls, config: Config) -> Self:
        return cls(SimpleNamespace(vocab_size=1000))

    @property
    def hashes(self) -> dict[str, tuple[str, str]]:
        return {"vocabulary": (TOKENIZER, hashlib.sha256(self.tokenizer_json).hexdigest())}

    def files(self) -> dict[str, str | bytes]:
        return {TOKENIZER: self.tokenizer_json}

    def encode(self, corpus: Corpus, records: Sequence[Record]) -> SplitData:
        """Records as the rows 0, 1, ... of a split. Raises DataError for a label that the run does not have."""
        for record in records:
            corpus.target.check_known(record.labels or (), self.labels, record.place)
        texts = map(list, zip(*map(corpus.encoder_texts, records), strict=True))
        fields = [self.tokenizer.encode(column, **corpus.length_options) for column in texts]
        values = corpus.target.values([record.labels or () for record in records], self.labels)
        columns = {} if values is None else {str(corpus.target.key): values}
        return SplitData(fields, columns, np.arange(len(records)))


class TextData:
    """The splits of a config as loaders, and what a trained run keeps of them. Writes nothing but caches."""

    def __init__(self, config: Config, worker: Worker, target: type[Target], artifacts: type[TextArtifacts]) -> None:
        started = time.perf_counter()
        trained = initial_tokenizer(config)
        self.corpus = build_corpus(config, target)
        if trained is not None:
            check_lengths(config, self.corpus, trained)
        options = _options(config, target)
        with worker.first_alone("tokens"):
            store = open_store(self.corpus, build_tokenizer(config), options, trained)
        self._data_now = partial(data_hash, self.corpus, options, trained)
        self.key, self.splits = store.key, store.splits
        self.artifacts = artifacts.of(store)
        self.tokenizer = store.tokenizer
        warnings = [*store.report.get("warnings", []), *self._unknown()]
        truncated = {split: float(data.truncated.mean()) for split, data in self.splits.items() if len(data)}
        seconds = time.perf_counter() - started
        self.report = store.report | {"truncated": truncated, "warnings": warnings, "seconds": seconds}
        self.report["sha256"] = files_hash(self.corpus.source, self.corpus.cache_folder)
        loses_ends = self.corpus.long_texts == "head" and not self.corpus.pair
        cut = describe_truncated(truncated, self.corpus.max_length, loses_ends=loses_ends)
        for line in [*describe_rows(store.report), *cut]:
            logger.info("%s", line)
        for line in warnings:
            logger.warning("warning: %s", line)
        self.loaders = {split: build_loader(config, worker, self.splits[split]) for split in self.corpus.splits}
        self.facts = facts_of(store.facts, self.artifacts)

    def lines(self, split: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The lines of predictions.jsonl for a split, whose rows are read once more."""
        for record, answer, is_cut in zip(self.records(split), answers, self.splits[split].truncated, strict=True):
            yield prediction_line(self.corpus, record, answer, truncated=is_cut)

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, read once more from its files. Raises DataError where those have changed meanwhile."""
        yield from self.corpus.records(split, self.splits[split].rows)
        if self._data_now() != self.facts["data"]:
            files = self.corpus.source.files(split if split in self.corpus.source.splits else "train")
            raise DataError(
                f"{files[0]}: the data has changed since it was tokenised; restore it and run the same command to resume"
            )

    def _unknown(self) -> list[str]:
        """A line for every split with texts of which the tokenizer knows no word, or much of which it does not know."""
        unknown_id, special_ids = self.tokenizer.unknown_id, self.tokenizer.special.ids
        is_of_words = isinstance(self.tokenizer, WordTokenizer)
        hint = "; tokenizer: {name: wordpiece} splits rare words into known pieces" if is_of_words else ""
        lines = []
        for split, data in self.splits.items():
            if count := num_unknown(data.fields, [unknown_id, *special_ids]):
                lines.append(f"{count} of {len(data)} texts of {split} hold no token of the vocabulary")
            share = unknown_share(data.fields, unknown_id, special_ids)
            if split != "train" and share > MAX_UNKNOWN:
                lines.append(
                    f"{100 * share:.0f}% of the tokens of {split} are not in the vocabulary "
                    f"(more than {100 * MAX_UNKNOWN:.0f}%){hint}"
                )
        return lines


def data_key(config: Config, corpus: Corpus, tokenizer: object) -> str:
    """What a checkpoint of a run with this config and tokenizer would know the data by, as its files are now."""
    return data_hash(corpus, _options(config, type(corpus.target)), None if trains_tokenizer(config) else tokenizer)


def _options(config: Config, target: type[Target]) -> dict[str, Any]:
    """All of a config that shapes its tokens; by it and their data checkpoints of all versions are compared.

    So an option that the first versions did not have counts only where it is not at its default.
    """
    shaping: dict[str, Any] = {}
    for key, section in text_sections(target).items():
        assert section.parts is not None
        parts = [section.parts[config[key]["name"]], *section.shared_parts]
        defaults = {name: option.default for part in parts for name, option in options_of(part).items()}
        shaping[key] = {
            name: value
            for name, value in (tokenizer_shape(config[key]) if key == "tokenizer" else config[key]).items()
            if name not in section.free and (name in FIRST_OPTIONS.split() or value != _plain(defaults.get(name)))
        }
    if config.data.get("multi_label"):
        shaping["data"]["is_stratified"] = True  # the first version split sets of labels: its test rows were others
    if target is not LabelTarget:  # the first version had no other
        shaping["target"] = target.__name__
    return shaping


def tokenizer_shape(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a tokenizer; one that came later counts only where it is not at its default."""
    is_later = options["name"] == "byte_bpe" and not options.get("lower", False)
    return {name: value for name, value in options.items() if not (is_later and name == "lower")}


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def trains_tokenizer(config: Config) -> bool:
    """Whether the run trains its own tokenizer; else that of `init_from` or of a file counts as part of its data."""
    return config.init_from is None and config.tokenizer.name != "saved"


def initial_tokenizer(config: Config) -> Any:
    """The tokenizer of what `init_from` names, which belongs to its weights, or of a file; None where the run trains its own."""
    if config.init_from is None:
        return None if trains_tokenizer(config) else build_tokenizer(config).read()
    if is_published(config.init_from):
        return published_tokenizer(config)
    if not Path(config.init_from).is_dir():
        raise CheckpointError(
            f"init_from: there is no folder {config.init_from}; known: the folder of a run or of a published model, pip:NAME for "
            "one that a package ships, org/name for one of the hub"
        )
    return saved_tokenizer(run_folder(Path(config.init_from)))[0]


def saved_tokenizer(folder: Path) -> tuple[Any, bytes]:
    """(tokenizer, its file) of a run's folder, parsed only once its hash is the checkpoints'. Raises CheckpointError."""
    refuse_export(folder)
    path = folder / TOKENIZER
    known = CheckpointStore(folder / "checkpoints").facts()
    try:
        content = read_regular(path)
        if known is not None:
            checkpoint, facts = known
            refuse_other(path, "vocabulary", hashlib.sha256(content).hexdigest(), facts, checkpoint)
        return parse_tokenizer(content), content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{unreadable(path, error)}; is {folder} the folder of a trained run?") from None
