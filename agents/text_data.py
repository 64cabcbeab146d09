"""A run's texts: read, tokenised and batched; what every agent over texts begins with."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from agents.parts import build_corpus, build_tokenizer, check_lengths
from agents.pretrained import published_tokenizer
from datasets import DATASETS, TOKENIZERS
from datasets.batches import Loader
from datasets.corpus import Corpus
from datasets.labels import labels_hash
from datasets.records import Record
from datasets.store import data_hash, load_tokenizer, open_store
from datasets.tokens import num_unknown, unknown_share
from utils.checkpoint import CheckpointStore, refuse_other
from utils.config import Config, is_free
from utils.errors import CheckpointError, DataError
from utils.experiment import Experiment
from utils.hub import is_published
from utils.run_report import describe_rows, describe_truncated
from utils.schema import Section, options_of
from utils.settings import TrainSettings
from utils.storage import read_regular

logger = logging.getLogger("glassbox")
MAX_UNKNOWN = 0.3  # of the tokens of valid and test without a warning; other texts of one kind have 0.02 to 0.2
# The options of `data` and `tokenizer` in the first version.
FIRST_OPTIONS = """name train valid test format encoding delimiter quotes columns folder fields label id multi_label label_separator
    join_fields pair split split_seed max_length long_texts stride on_bad_row limit lower min_count max_size ngrams ngram_min_count
    vocab_size special_tokens"""


class TextData:
    """The three splits of a config as loaders, with their labels and tokenizer, which are saved in the run's folder."""

    sections: ClassVar[dict[str, Section]] = {
        "data": Section(DATASETS, shared=Corpus),
        "tokenizer": Section(TOKENIZERS, default="word"),
    }

    def __init__(self, config: Config, settings: TrainSettings, experiment: Experiment) -> None:
        started = time.perf_counter()
        trained = _initial_tokenizer(config)
        self.corpus = build_corpus(config)
        if trained is not None:
            check_lengths(config, self.corpus, trained)
        options = _options(config)
        with experiment.worker.first_alone("tokens"):
            store = open_store(self.corpus, build_tokenizer(config), options, trained)
        self._data_now = partial(data_hash, self.corpus, options, trained)
        self.key = store.key
        self.labels, self.tokenizer, self.splits = store.labels, store.tokenizer, store.splits
        warnings = [*store.report.get("warnings", []), *self._unknown()]
        truncated = {split: float(data.truncated.mean()) for split, data in self.splits.items() if len(data)}
        seconds = time.perf_counter() - started
        self.report = store.report | {"truncated": truncated, "warnings": warnings, "seconds": seconds}
        for line in [*describe_rows(store.report), *describe_truncated(truncated, self.corpus.max_length)]:
            logger.info("%s", line)
        for line in warnings:
            logger.warning("warning: %s", line)
        sizes = {name: getattr(settings, name) for name in ("batch_size", "batch_tokens", "accumulation_steps")}
        options = sizes | {"seed": config.seed, "rank": experiment.worker.rank, "num_ranks": experiment.worker.size}
        self.loaders = {split: Loader(self.splits[split], **options) for split in self.corpus.splits}
        self.facts = store.facts | {"labels": labels_hash(self.labels)}
        known = CheckpointStore(experiment.folder / "checkpoints").facts()
        noted = self.facts if known is None else known[1]
        is_same = all(noted.get(name) == self.facts[name] for name in ("vocabulary", "labels"))
        if is_same:  # else the start is refused, and the run stays usable
            experiment.write("tokenizer.json", store.tokenizer_json)
            experiment.write("labels.json", json.dumps(self.labels, ensure_ascii=False))

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
        lines = []
        for split, data in self.splits.items():
            if count := num_unknown(data.fields, [unknown_id, *special_ids]):
                lines.append(f"{count} of {len(data)} texts of {split} hold no token of the vocabulary")
            share = unknown_share(data.fields, unknown_id, special_ids)
            if split != "train" and share > MAX_UNKNOWN:
                lines.append(
                    f"{100 * share:.0f}% of the tokens of {split} are not in the vocabulary (more than {100 * MAX_UNKNOWN:.0f}%); "
                    "tokenizer: {name: wordpiece} splits rare words into known pieces"
                )
        return lines


def data_key(config: Config, tokenizer: object) -> str:
    """What a checkpoint of a run with this config and tokenizer would know the data by, as its files are now."""
    return data_hash(build_corpus(config), _options(config), tokenizer if config.init_from else None)


def _options(config: Config) -> dict[str, Any]:
    """All of a config that shapes its tokens; by it and their data checkpoints of all versions are compared.

    So an option that the first versions did not have counts only where it is not at its default.
    """
    shaping: dict[str, Any] = {}
    for key, section in TextData.sections.items():
        assert section.parts is not None
        parts = [part for part in (section.parts[config[key]["name"]], section.shared) if part is not None]
        defaults = {name: option.default for part in parts for name, option in options_of(part).items()}
        shaping[key] = {
            name: value
            for name, value in config[key].items()
            if not is_free(f"{key}.{name}") and (name in FIRST_OPTIONS.split() or value != _plain(defaults.get(name)))
        }
    if config.data.multi_label:
        shaping["data"]["is_stratified"] = True  # the first version split sets of labels: its test rows were others
    return shaping


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _initial_tokenizer(config: Config) -> Any:
    """The tokenizer of what `init_from` names, which belongs to its weights; None where the run trains its own."""
    if config.init_from is None:
        return None
    if is_published(config.init_from):
        return published_tokenizer(config)
    if not Path(config.init_from).is_dir():
        raise CheckpointError(
            f"init_from: there is no folder {config.init_from}; known: the folder of a run or of a published model, pip:NAME for "
            "one that a package ships, org/name for one of the hub"
        )
    return saved_tokenizer(Path(config.init_from))


def saved_tokenizer(folder: Path) -> Any:
    """The tokenizer of a run's folder, parsed only after its hash is known to be the checkpoints'. Raises CheckpointError."""
    path = folder / "tokenizer.json"
    known = CheckpointStore(folder / "checkpoints").facts()
    try:
        if known is not None:
            checkpoint, facts = known
            refuse_other(path, "vocabulary", hashlib.sha256(read_regular(path)).hexdigest(), facts, checkpoint)
        return load_tokenizer(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read: {reason}; is {folder} the folder of a trained run?") from None
