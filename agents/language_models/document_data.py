"""A run's documents: read, tokenised, cut into sequences and batched; what pre-training begins with."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.language_models.options import DocumentOptions, Objective
from agents.running.building import build_tokenizer
from agents.running.checking import check_has_valid
from agents.running.data import build_loader, facts_of
from agents.running.text_data import MAX_UNKNOWN, TextArtifacts, initial_tokenizer, tokenizer_shape
from datasets.batches.loader import Loader
from datasets.batches.masking import Masking
from datasets.batches.pretraining import PretrainingExamples, Sequences
from datasets.formats.readers import ENDINGS, ending_of
from datasets.rows.documents import TABLES
from datasets.rows.split import SPLITS
from datasets.sources.documents import Documents
from datasets.store.document_store import DocumentCorpus, DocumentTokens, open_documents
from datasets.store.file_hashes import files_hash
from datasets.tokenizers.vocabulary import Vocabulary
from utils.config.config import Config
from utils.config.schema import construct
from utils.distributed.worker import Worker
from utils.errors import DataError

logger = logging.getLogger("glassbox")
EVALUATION_SEED = 0  # of every run, so that all seeds are measured on the same masks
FAITHFUL = (0.8, 0.1)  # of the masked tokens: [MASK], and a random token (Devlin et al. 2019); the rest stays
MAX_DEVIATION = 0.1  # of a split's share of the documents, each of which is drawn by itself, from that of data.split


class DocumentData:
    """The splits of a config as loaders, and what a trained run keeps of them. Writes nothing but caches."""

    def __init__(self, config: Config, worker: Worker, trained: Any = None) -> None:
        """trained: a run's tokenizer, for files to test it on; None: that of `init_from` or of a file, or one trained here."""
        started, self.is_other = time.perf_counter(), trained is not None
        source = construct(config, "data", Documents, config.data)
        self.options: DocumentOptions = construct(config, "data", DocumentOptions, config.data)
        self.objective: Objective = construct(config, "objective", Objective, config.objective)
        if trained is None and (trained := initial_tokenizer(config)) is not None:
            try:
                Vocabulary.of(trained)
            except ValueError as error:
                raise DataError(f"{config.tokenizer.get('path') or config.init_from}: {error}") from None
        shares = (self.options.split[0], self.options.split[1], self.options.split[2])
        corpus = DocumentCorpus(source, shares, self.options.split_seed)
        shape = {"data": _shaping(config.data), "tokenizer": tokenizer_shape(config.tokenizer)}
        with worker.first_alone("tokens"):
            store = open_documents(corpus, build_tokenizer(config), shape, self.options.cache_folder, trained)
        self.store = store
        self.artifacts = TextArtifacts(store.tokenizer, store.tokenizer_json)
        self.vocabulary = Vocabulary.of(store.tokenizer)
        self.config, self.worker = config, worker
        self.report = store.report | {"warnings": list(store.report["warnings"])}
        self.report["sha256"] = files_hash(source, self.options.cache_folder)
        self._check(source)
        self.loaders = {split: self._loader(split) for split in SPLITS if len(store.splits[split])}
        self.facts = facts_of(store.facts, self.artifacts)
        if not self.is_other:
            check_has_valid(config, list(self.loaders))
        self.report |= {"seconds": time.perf_counter() - started}
        self._tell()

    def lines(self, split: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """A line for each sequence of a split."""
        for row, answer in enumerate(answers):
            yield {"id": row, **answer}

    def _check(self, source: Documents) -> None:
        """Raise DataError for a corpus that nothing can be learnt from; warn of splits that chance has made too small or large."""
        for split, tokens in self.store.splits.items():
            place = f"{source.files(split if split in source.splits else 'train')[0]}: {split}"
            if len(tokens):
                self._check_pairs(tokens, place)
                self._check_known(tokens, place, split)
            elif split in source.splits:
                is_elsewhere = any(map(len, self.store.splits.values()))
                others = "; all were drawn for the other splits (data.split_seed)" if is_elsewhere else ""
                raise DataError(f"{place} holds no document with a token{others}")
        self._compare_shares(source)

    def _check_pairs(self, tokens: DocumentTokens, place: str) -> None:
        """Raise DataError for a split of which the pairs of `objective.pairs` cannot be made."""
        pairs = self.objective.pairs
        if pairs == "next_sentence" and len(tokens) < 2:
            raise DataError(
                f"{place} holds one document, and next_sentence takes half of the second segments from another; "
                "separate documents by blank lines, or write objective.pairs: sentence_order or none"
            )
        if pairs != "none" and np.diff(tokens.documents).max() < 2:
            raise DataError(f"{place}: no document has two sentences, of which objective.pairs: {pairs} is made")

    def _check_known(self, tokens: DocumentTokens, place: str, split: str) -> None:
        """Raise DataError for a split of which no token can be masked; warn of one that the tokenizer hardly knows."""
        unknown = 1 - self.vocabulary.plain_share(tokens.ids)
        if unknown == 1:
            raise DataError(f"{place}: the tokenizer knows no token of it, so none can be masked")
        if unknown > MAX_UNKNOWN:
            self.report["warnings"].append(f"{100 * unknown:.0f}% of the tokens of {split} are not in the vocabulary")

    def _compare_shares(self, source: Documents) -> None:
        """Warn where another share of the training files' documents has been drawn for a split than data.split says."""
        drawn = [split for split in SPLITS[1:] if split not in source.splits]
        total = sum(len(self.store.splits[split]) for split in ["train", *drawn])
        for split in drawn:
            share, count = self.options.split[SPLITS.index(split)], len(self.store.splits[split])
            if abs(count / total - share) > MAX_DEVIATION or (share > 0 and not count):
                self.report["warnings"].append(
                    f"{source.files('train')[0]}: {count} of {total} documents were drawn for {split}, whose share in data.split "
                    f"is {share:g}; give data.{split}, another share or another data.split_seed"
                )

    def _examples(self, split: str) -> PretrainingExamples:
        tokens: DocumentTokens = self.store.splits[split]
        vocabulary, rule = self.vocabulary, self.objective
        common = (vocabulary.mask_id, vocabulary.plain_ids, vocabulary.starts_word)
        sequences = Sequences(
            pairs=rule.pairs,
            max_length=self.options.max_length,
            first_length=self.options.first_length or self.options.max_length,
            long_from=0,
            short=rule.short_pairs,
            dupe_factor=rule.dupe_factor,
        )
        return PretrainingExamples(
            tokens,
            sequences,
            masking=Masking(*common, rule.mask_unit, rule.mask_token, rule.random_token),
            evaluation=Masking(*common, "token", *FAITHFUL),
            share=rule.share,
            special=vocabulary.special,
            seed=self.config.seed if split == "train" and not self.is_other else EVALUATION_SEED,
            even_turns=rule.even_turns,
            max_rows=self.options.max_valid if split == "valid" else None,
        )

    def _loader(self, split: str) -> Loader:
        train = self.config.train
        loader = build_loader(self.config, self.worker, self._examples(split))
        if split == "train":
            if self.options.first_steps:
                self._shorten(loader)
            if self.objective.share.is_falling:  # laying out every epoch takes its time
                total = loader.total_steps(train.num_epochs, train.num_steps)
                loader.examples = replace(loader.examples, total_steps=total)  # type: ignore[type-var]
        return loader

    def _shorten(self, loader: Loader) -> None:
        """Let the sequences be of max_length after first_steps; the epoch under way then ends, whatever is left of it."""
        examples: Any = loader.examples
        loader.examples = replace(examples, sequences=replace(examples.sequences, long_from=2**62))
        epoch, left = 0, self.options.first_steps
        while (num_steps := loader.num_steps(epoch)) < left:
            epoch, left = epoch + 1, left - num_steps
        loader.shortened = {epoch: left}
        loader.examples = replace(examples, sequences=replace(examples.sequences, long_from=epoch + 1))

    def _tell(self) -> None:
        for split in self.loaders:
            sizes = "{documents:,} documents, {sentences:,} sentences, {tokens:,} tokens".format(**self.report[split])
            logger.info("%s: %s", "test" if self.is_other else split, sizes)
        for line in self.report["warnings"]:
            logger.warning("warning: %s", line)


def on_files(config: Config, paths: Sequence[Path], reading: Mapping[str, str | None]) -> Config:
    """The config with these files as its only documents, all of which are its training split; reading: other options for them.

    Tables are read as such, by their ending, whatever the format of the training files.
    """
    data = {**config.data, "train": list(map(str, paths)), "valid": None, "test": None, "split": [1.0, 0.0, 0.0]}
    data |= {"first_length": None, "first_steps": 0}
    data |= {"format": "auto"} if all(ENDINGS.get(ending_of(path)) in TABLES for path in paths) else {}
    data |= {name: value for name, value in reading.items() if value is not None}
    return Config(config.to_dict() | {"data": data}, config.path, config.places)


def _shaping(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options that shape the token store."""
    unshaping = {"max_length", "first_length", "first_steps", "max_valid", "cache_folder"}
    return {
        name: value for name, value in data.items() if name not in unshaping and name not in ("train", "valid", "test")
    }
