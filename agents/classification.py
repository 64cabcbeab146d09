"""Text classification: one text, or several fields of it -> one label, or any number of labels."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from agents.base import BaseAgent
from agents.classifying.artifacts import LabelArtifacts
from agents.classifying.labels import MultiLabel, SingleLabel
from agents.classifying.teacher import Teacher, check_teacher
from agents.running.building import build_model
from agents.running.text_data import TextData, text_sections
from datasets.batches.text_batch import TextBatch
from datasets.rows.targets import LabelTarget
from datasets.tokenizers.word_vectors import WordVectors
from graphs.losses import LOSSES
from graphs.losses.r_drop import RDrop
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config.config import Config
from utils.config.schema import Section, construct
from utils.metrics.base import CombinedMetrics, Metrics
from utils.metrics.label_counts import METRICS, known_metrics
from utils.metrics.scores import SCORES
from utils.runs.probability_views import write_probability_views


class ClassificationAgent(BaseAgent):
    """Trains a text classifier: an encoder for each field, a head, and a loss over labels."""

    monitor = "+accuracy"
    metrics = (*METRICS, *SCORES)
    target = LabelTarget
    artifacts_type = LabelArtifacts
    sections: ClassVar[dict[str, Section]] = {
        **text_sections(LabelTarget),
        "model": Section(ENCODERS),
        "vectors": Section(shared=WordVectors, is_optional=True),
        "head": Section(shared=FeedForward),
        "loss": Section(LOSSES, shared=RDrop, default="cross_entropy"),
        **BaseAgent.sections,
    }
    teacher: Teacher | None = None

    @classmethod
    def known_metrics(cls, config: Config) -> Sequence[str]:
        return [*known_metrics(is_multi_label=config.data.multi_label), *SCORES]

    @classmethod
    def complete(cls, config: Config) -> None:
        super().complete(config)
        data, loss = config.get("data"), config.get("loss", {})
        if isinstance(data, Mapping) and data.get("multi_label") is True and isinstance(loss, Mapping):
            config["loss"] = {"name": "binary_cross_entropy", **loss}

    @classmethod
    def check(cls, config: Config) -> Self:
        agent = super().check(config)
        if agent.loss.is_multi_label != config.data.multi_label:
            fitting = ", ".join(name for name, part in LOSSES.items() if part.is_multi_label == config.data.multi_label)  # type: ignore[attr-defined]
            raise config.error(
                "loss",
                f"loss {config.loss.name} does not fit data.multi_label: {config.data.multi_label}; use {fitting}",
            )
        if config.loss.r_drop and not any(
            "dropout" in name and p and p is not True for part in ("model", "head") for name, p in config[part].items()
        ):
            raise config.error(
                "loss.r_drop",
                "loss.r_drop needs two passes under different dropout masks, and all dropout is 0; set model.dropout",
            )
        return agent

    def build_model(self, artifacts: LabelArtifacts) -> TextClassifier:
        self.labels = list(artifacts.labels)
        self.kind = MultiLabel() if self.config.data.multi_label else SingleLabel()
        return build_model(self.config, artifacts.tokenizer.vocab_size, len(self.labels), self.device)

    def build_loss(self, artifacts: LabelArtifacts) -> nn.Module:
        self.r_drop: RDrop = construct(self.config, "loss", RDrop, self.config.loss)
        loss = LOSSES[self.config.loss.name]
        return cast(nn.Module, construct(self.config, "loss", loss, self.config.loss, labels=list(artifacts.labels)))

    def compute_loss(self, batch: TextBatch) -> tuple[dict[str, Tensor], Tensor]:
        labels = batch.columns["label"]
        logits = self.model(batch.fields).float()  # (B, num_labels); float32: a 16-bit loss would be imprecise
        if not self.model.training:
            return {"loss": self.loss(logits, labels)}, logits
        taught = {"teacher_logits": self.teacher.logits(batch.rows, self.device)} if self.teacher is not None else {}
        loss = self.loss(logits, labels, **taught)  # a sum: the loop divides by the global batch
        if self.r_drop.weight:
            second = self.model(batch.fields).float()  # under other dropout
            loss = (loss + self.loss(second, labels, **taught)) / 2
            disagreement = self.r_drop.disagreement(logits, second, labels)  # (B,)
            loss = loss + self.loss.weigh(disagreement, labels)  # type: ignore[operator]
        return {"loss": loss}, logits

    def count(self, batch: TextBatch) -> dict[str, float]:
        return {"loss": self.loss.count(batch.columns["label"])}  # type: ignore[operator]

    def new_metrics(self) -> Metrics:
        names = self.chosen_metrics(self.kind.metrics.scalars)
        decisions = self.kind.metrics(self.labels, self.device, [name for name in names if name not in SCORES])
        scores = [
            SCORES[name](len(self.labels), self.device, is_multi_label=self.kind.is_multi_label)
            for name in names
            if name in SCORES
        ]
        return CombinedMetrics([decisions, *scores]) if scores else decisions

    def read_data(self) -> TextData:
        check_teacher(self.config)
        data = cast(TextData, super().read_data())
        self._check_weights(data)
        if self.config.loss.name == "distillation":
            with self.worker.first_alone("teacher"), torch.random.fork_rng(devices=[]):
                self.teacher = Teacher(self.config, data, self.device)
            data.facts["teacher"] = self.teacher.sha256
        return data

    def _check_weights(self, data: TextData) -> None:
        """Raise ConfigError for a split whose loss is a mean over nothing, as every gold label has weight 0."""
        artifacts: Any = data.artifacts
        loss: Any = self.build_loss(artifacts)
        for split, examples in data.splits.items():
            labels = torch.from_numpy(np.array(examples.columns["label"]))
            if len(labels) and not loss.count(labels):
                words = (
                    f"loss.class_weights are 0 for all gold labels of {split}, whose loss would be a mean over nothing"
                )
                raise self.config.error("loss.class_weights", words)

    def predictions(self, batch: TextBatch, outputs: Tensor) -> list[tuple[Any, Any]]:
        """The probability of each label and what is predicted, for each text."""
        decisions = self.kind.decide(outputs).tolist()
        return list(zip(self.probabilities(outputs).cpu().numpy(), decisions, strict=True))

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, L) -> the probability of each label (B, L)."""
        return self.kind.probabilities(outputs)

    def answer(self, prediction: tuple[Any, Any]) -> dict[str, Any]:
        return self.kind.answer(self.labels, *prediction)

    def evidence(self, outputs: Tensor, number: int) -> Tensor:
        """(B, L) -> (B,): the log-odds of a label, for `explain`."""
        return self.kind.log_odds(outputs, number)

    def write_views(self, split: str, lines: list[dict[str, Any]]) -> None:
        """predictions.jsonl of the test split, and in TensorBoard its surest mistakes and what its probabilities are worth."""
        super().write_views(split, lines)
        wrong = [line for line in lines if line["gold"] != line["predicted"]]
        surest = sorted(wrong, key=lambda line: -max(line["probabilities"].values()))
        self.log.mistakes(split, surest, self.corpus.fields, self.state.step)
        has_error = "ece" in self.chosen_metrics(self.kind.metrics.scalars)
        write_probability_views(self.log, split, lines, self.state.step, has_error=has_error)
