"""Text classification: one text, or several fields of it -> one label, or any number of labels."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.base import BaseAgent
from agents.initial import load_initial_weights, load_vectors
from agents.parts import (
    build_average,
    build_corpus,
    build_freezing,
    build_loss,
    build_metrics,
    build_model,
    build_optimizer,
    build_tokenizer,
    check_first_token,
    check_lengths,
    probabilities_of,
)
from agents.pretrained import complete_from_published
from agents.teacher import Teacher, check_teacher
from agents.text_data import TextData
from datasets.batches import Batch
from datasets.predictions import prediction
from datasets.vectors import WordVectors
from graphs.losses import LOSSES
from graphs.losses.r_drop import RDrop
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config import Config
from utils.device import choose_device, missing_compiler
from utils.experiment import Experiment
from utils.memory import too_large
from utils.metrics import Metrics, decide, known_metrics
from utils.schema import Section, blamed_on, construct
from utils.sharding import refuse_uncuttable


class ClassificationAgent(BaseAgent):
    """Trains a text classifier: an encoder for each field, a head, and a loss over labels."""

    monitor = "+accuracy"
    sections: ClassVar[dict[str, Section]] = {
        **TextData.sections,
        "model": Section(ENCODERS),
        "vectors": Section(shared=WordVectors, is_optional=True),
        "head": Section(shared=FeedForward),
        "loss": Section(LOSSES, shared=RDrop, default="cross_entropy"),
        **BaseAgent.sections,
    }

    def __init__(self, config: Config, experiment: Experiment) -> None:
        super().__init__(config, experiment)
        check_teacher(config)
        self.data = TextData(config, self.settings, experiment)
        self.labels = self.data.labels
        check_first_token(config, self.data.corpus, self.data.tokenizer)  # that of init_from is here now
        model = build_model(config, self.data.tokenizer.vocab_size, len(self.labels), self.device)
        load_vectors(config, model, self.data.tokenizer, is_resumed=experiment.has_checkpoint)
        load_initial_weights(config, model, self.labels)
        self.model = self.place(model)
        self.loss = build_loss(config, self.labels).to(self.device)
        self.r_drop: RDrop = construct(config, "loss", RDrop, config.loss)
        with self.worker.first_alone("teacher"):
            self.teacher = Teacher(config, self.data, self.device) if config.loss.name == "distillation" else None
        if self.teacher is not None:
            self.data.facts["teacher"] = self.teacher.sha256
        self.optimizer = build_optimizer(config, self.model)

    @classmethod
    def known_metrics(cls, config: Config) -> Sequence[str]:
        return known_metrics(is_multi_label=config.data.multi_label)

    @classmethod
    def complete(cls, config: Config) -> None:
        complete_from_published(config)
        data, loss = config.get("data"), config.get("loss", {})
        if isinstance(data, Mapping) and data.get("multi_label") is True and isinstance(loss, Mapping):
            config["loss"] = {"name": "binary_cross_entropy", **loss}

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        corpus, tokenizer = build_corpus(config), build_tokenizer(config)
        check_lengths(config, corpus, tokenizer)
        if config.init_from is None:  # which brings a tokenizer of its own
            check_first_token(config, corpus, tokenizer)
        placeholders = ["a", "b", *(config.loss.get("class_weights") or {})]
        device = choose_device(config.device)
        _check_compiler(config, device)
        with torch.device("meta"):
            model = build_model(config, 1000, len(placeholders), device)
            _check_memory(config, model)
            _check_max_length(config, model)
            build_average(config, model)
            build_optimizer(config, model)
            build_freezing(config, model)
            if config.distributed.strategy == "fsdp":
                with blamed_on(config, "distributed", config.distributed):
                    refuse_uncuttable(model, config.optimizer.name)
            loss = build_loss(config, placeholders)
            construct(config, "loss", RDrop, config.loss)
        if loss.is_multi_label != config.data.multi_label:
            fitting = ", ".join(name for name, part in LOSSES.items() if part.is_multi_label == config.data.multi_label)  # type: ignore[attr-defined]
            raise config.error(
                "loss",
                f"loss {config.loss.name} does not fit data.multi_label: {config.data.multi_label}; use {fitting}",
            )

    def compute_loss(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.model(batch.fields).float()  # (B, num_labels); a loss of 16 bits would be a rough one
        if not self.model.training:
            return {"loss": self.loss(logits, batch.labels)}, logits
        taught = {"teacher_logits": self.teacher.logits(batch.rows, self.device)} if self.teacher is not None else {}
        loss = self.loss(logits, batch.labels, **taught)  # a sum: the loop divides by the global batch
        if self.r_drop.weight:
            second = self.model(batch.fields).float()  # under other dropout
            loss = (loss + self.loss(second, batch.labels, **taught)) / 2
            disagreement = self.r_drop.disagreement(logits, second, batch.labels)  # (B,)
            loss = loss + self.loss.weigh(disagreement, batch.labels)  # type: ignore[operator]
        return {"loss": loss}, logits

    def new_metrics(self) -> Metrics:
        return build_metrics(self.config, self.labels, self.device)

    def predictions(self, batch: Batch, outputs: Tensor) -> list[tuple[list[float], Any]]:
        """The probability of each label and what is predicted (see `decide`), for each text of the batch."""
        is_multi_label = self.config.data.multi_label
        probabilities = probabilities_of(outputs, is_multi_label=is_multi_label)
        return list(zip(probabilities.tolist(), decide(outputs, is_multi_label=is_multi_label).tolist(), strict=True))

    def write_views(self, split: str, lines: Sequence[tuple[list[float], Any]]) -> None:
        """predictions.jsonl of the test split, and its surest mistakes in TensorBoard."""
        fields, is_multi_label = self.data.corpus.fields, self.config.data.multi_label
        full, wrong = [], []
        rows = zip(self.data.records(split), lines, self.data.splits[split].truncated, strict=True)
        for record, (shares, decision), is_cut in rows:
            given = (record, fields, self.labels, np.array(shares, dtype=np.float32), np.array(decision))
            line = prediction(*given, is_multi_label=is_multi_label, truncated=is_cut)
            full.append(line)
            if line["gold"] != line["predicted"]:
                wrong.append((max(shares), line))
        super().write_views(split, full)
        surest = [line for _, line in sorted(wrong, key=lambda pair: -pair[0])]
        self.log.mistakes(split, surest, fields, self.state.step)


def _check_compiler(config: Config, device: torch.device) -> None:
    """Refuse to compile layers where the first of them would end in the compiler's traceback."""
    if config.model.get("compile_layers") and (missing := missing_compiler(device)):
        raise config.error(
            "model.compile_layers",
            f"model.compile_layers: torch.compile needs {missing}; install one, or leave the option out",
        )


def _check_max_length(config: Config, model: TextClassifier) -> None:
    """Refuse texts that may be longer than an encoder has positions for."""
    limit, asked = getattr(model.encoders[0], "max_length", None), config.data.max_length
    if limit is not None and (asked is None or asked > limit):
        raise config.error(
            "data.max_length",
            f"data.max_length is {asked}, and {config.model.name} has positions for {limit} tokens; "
            f"write data.max_length: {limit} or less, or a larger model.max_positions",
        )


def _check_memory(config: Config, model: TextClassifier) -> None:
    """Refuse a model that no start could hold; with the words of the data, which are not counted yet, it is larger still."""
    for key, part in (("model", model.encoders), ("head", model.head)):
        if reason := too_large(part):
            raise config.error(key, f"{key}: {reason}")
