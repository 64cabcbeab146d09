"""The hooks that define a task, for training and prediction alike; the loop (base.py) and the `Predictor` call them.

A task is one file with a class that extends `BaseAgent`, and one entry in AGENTS.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from agents.running.building import build_corpus, build_tokenizer, check_first_token, check_lengths, check_padding_row
from agents.running.checking import SECTIONS, check_has_valid, check_run
from agents.running.data import Data
from agents.running.given_text import given_record
from agents.running.text_data import TextArtifacts, TextData
from agents.running.trained_run import TrainedRun
from agents.weights.published import complete_from_published
from agents.weights.run_weights import complete_from_run, load_initial_weights
from agents.weights.word_vectors import load_vectors
from datasets.batches.examples import EVALUATION
from datasets.rows.corpus import Corpus
from datasets.rows.records import Record
from datasets.rows.targets import Target
from datasets.store.file_hashes import files_hash
from datasets.store.store import SplitData
from utils.config.config import Config
from utils.config.schema import Section
from utils.distributed.worker import Worker
from utils.metrics.base import Metrics
from utils.runs.experiment import Experiment


class Task:
    """Hooks that raise NotImplementedError must be written; the others have defaults for tasks over texts."""

    sections: ClassVar[dict[str, Section]] = SECTIONS
    monitor: ClassVar[str] = "-loss"  # the default of train.monitor
    metrics: ClassVar[Sequence[str]] = ()  # what `new_metrics` computes: names that train.monitor may have besides loss
    target: ClassVar[type[Target]] = Target  # what is to be predicted for a row
    artifacts_type: ClassVar[type[Any]] = TextArtifacts  # what a trained run keeps besides its weights
    model: nn.Module
    loss: nn.Module
    artifacts: Any
    data: Data
    experiment: Experiment
    trained: TrainedRun | None = None  # the run that a `Predictor` has opened
    watch: Any = None  # a Watch (agents/watching/watch.py) of a run that trains

    def __init__(self, config: Config, device: torch.device, worker: Worker | None = None) -> None:
        """Opens nothing. config: checked and complete; worker: this process among those of the run."""
        self.config, self.device, self.worker = config, device, worker or Worker()

    @classmethod
    def complete(cls, config: Config) -> None:
        """Fill in values that other parts of the config decide, before it is checked."""
        complete_from_published(config)
        complete_from_run(config)

    @classmethod
    def known_metrics(cls, config: Config) -> Sequence[str]:
        """The names that `metrics` and train.monitor may have; with none, only the first validation shows them."""
        return cls.metrics

    @classmethod
    def check(cls, config: Config) -> Self:
        """Refuse bad values before any data is read; -> the agent with all its parts built on the meta device."""
        return check_run(cls, config)

    # To be written.

    def build_model(self, artifacts: Any) -> nn.Module:
        """The model, on the CPU; artifacts: of `artifacts_type`."""
        raise NotImplementedError

    def build_loss(self, artifacts: Any) -> nn.Module:
        """The loss, as a sum over the targets that `count` counts."""
        raise NotImplementedError

    def compute_loss(self, batch: Any) -> tuple[dict[str, Tensor], Any]:
        """({loss term: its sum over the counted targets}, outputs) of a batch on the device, in float32; outputs of any form.

        Call `self.model(...)`, and no other method of the model: with DDP and FSDP only `forward` synchronises.
        """
        raise NotImplementedError

    def count(self, batch: Any) -> dict[str, float]:
        """How many targets each loss term counts, by which the loop divides its sum; of a batch on the host."""
        raise NotImplementedError

    def new_metrics(self) -> Metrics:
        """Metrics, all counts zero."""
        raise NotImplementedError

    def chosen_metrics(self, default: Sequence[str]) -> list[str]:
        """The config's `metrics`, or the default ones, and the one that is monitored."""
        names = dict.fromkeys(self.config.get("metrics") or default)
        monitored = (self.config.train.monitor or "")[1:]  # none in a saved run of another version
        return list(names if monitored in ("", "loss") else names | {monitored: None})

    # Defaults, for tasks over texts.

    def check_data(self) -> None:
        """Refuse bad values of the sections `data` and `tokenizer` before any data is read. Raises ConfigError."""
        check_has_valid(self.config, self.corpus.splits)
        tokenizer = build_tokenizer(self.config)
        check_lengths(self.config, self.corpus, tokenizer)
        if self.config.init_from is None:  # which brings a tokenizer of its own
            check_first_token(self.config, self.corpus, tokenizer)

    def read_data(self) -> Data:
        """Read and tokenise the splits."""
        data = TextData(self.config, self.worker, self.target, self.artifacts_type)
        check_first_token(self.config, data.corpus, data.tokenizer)  # that of init_from is here now
        return data

    def load_initial_weights(self) -> None:
        """Load word vectors, or the weights that `init_from` names, into the model."""
        check_padding_row(self.config, self.model, self.artifacts.tokenizer)
        load_vectors(self.config, self.model, self.artifacts.tokenizer, is_resumed=self.experiment.has_checkpoint)
        load_initial_weights(self.config, self.model, list(self.artifacts.labels))

    def summarize(self, values: dict[str, float]) -> dict[str, float]:
        """The mean losses and metrics of an evaluation, with what follows from them, such as the perplexity."""
        return values

    def show_validation(self, values: dict[str, float]) -> None:
        """Log more of a validation than its values, on every rank; the model has the weights that were measured."""

    def predictions(self, batch: Any, outputs: Any) -> list[Any]:
        """The prediction for each row of a batch on the device, as small plain values; none by default."""
        return []

    def answer(self, prediction: Any) -> dict[str, Any]:
        """One of `predictions` as keys of its line in predictions.jsonl."""
        return dict(prediction) if isinstance(prediction, dict) else {"predicted": prediction}

    def encode(self, records: Sequence[Record]) -> SplitData:
        """New records as examples 0, 1, ...: for `test --data` and `predict`."""
        encoded: SplitData = self.artifacts.encode(self.corpus, records)
        return encoded

    def example(self, text: str | Mapping[str, Any], answer: str | None = None) -> tuple[Any, bool]:
        """A text given by hand as a batch of one on the host, for `walk`; answer: as a file would hold it.

        -> the batch, and whether it has the answer, without which its loss says nothing.
        """
        record = given_record(self.corpus, text, answer)
        return self.encode([record]).collate(np.zeros(1, dtype=np.int64), EVALUATION), answer is not None

    def test_data(self, paths: Sequence[Path], **reading: str | None) -> tuple[Any, Callable[[], dict[str, Any]]]:
        """For an agent that answers no rows: the test split, or all of other files, and how many lines were read, used and skipped.

        -> what has `eval_batches`, as a loader; reading: format, encoding and on_bad_row of the files, None as in the run.
        """
        raise NotImplementedError

    def use_trained(self, run: TrainedRun) -> None:
        """Use a trained run, and what it has chosen by validation."""
        self.trained = run

    def evaluation_options(self) -> dict[str, Any]:
        """What the figures of a split depend on besides the weights, for its report; nothing for most tasks."""
        return {}

    def write_views(self, split: str, lines: list[dict[str, Any]]) -> None:
        """Write the predictions of a split, in the order of its rows; called on rank 0."""
        self.experiment.write_lines("predictions.jsonl", lines)
        if self.watch is not None and self.watch.vectors is not None:
            self.watch.vectors.write_texts(lines, self.corpus.fields)

    def content(self) -> str:
        """A hash of the content of the data's files as they are now, whatever the options."""
        return files_hash(self.corpus.source, self.corpus.cache_folder)

    @functools.cached_property
    def corpus(self) -> Corpus:
        """How rows are read."""
        return build_corpus(self.config, self.target)
