"""Text classification: one text, or several fields of it -> one label, or any number of labels."""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from agents.base import BaseAgent
from agents.initial import load_initial_weights, load_vectors
from agents.parts import build_corpus, build_loss, build_model, build_tokenizer, probabilities_of
from datasets import DATASETS, TOKENIZERS
from datasets.batches import Batch, Loader
from datasets.corpus import Corpus
from datasets.predictions import prediction
from datasets.store import load_tokenizer, open_store, tokenizer_hash, tokenizer_json
from datasets.vectors import WordVectors
from graphs.losses import LOSSES
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward
from utils.config import Config, is_free
from utils.experiment import Experiment
from utils.metrics import ConfusionMatrix, Metrics, MultiLabelCounts
from utils.optim import build_optimizer, takes_sparse
from utils.run_report import describe_rows
from utils.schema import Section, blamed_on

logger = logging.getLogger("glassbox")


class ClassificationAgent(BaseAgent):
    """Trains a text classifier: an encoder for each field, a head, and a loss over labels."""

    sections: ClassVar[dict[str, Section]] = {
        "data": Section(DATASETS, shared=Corpus),
        "tokenizer": Section(TOKENIZERS, default="word"),
        "model": Section(ENCODERS),
        "vectors": Section(shared=WordVectors, is_optional=True),
        "head": Section(shared=FeedForward),
        "loss": Section(LOSSES, default="cross_entropy"),
        **BaseAgent.sections,
    }

    def __init__(self, config: Config, experiment: Experiment) -> None:
        super().__init__(config, experiment)
        started = time.perf_counter()
        self.corpus = build_corpus(config)
        trained = load_tokenizer(Path(config.init_from) / "tokenizer.json") if config.init_from else None
        options = {
            "tokenizer": config.tokenizer,
            "data": {k: v for k, v in config.data.items() if not is_free(f"data.{k}")},
        }
        store = open_store(self.corpus, build_tokenizer(config), options, trained)
        self.labels, self.tokenizer = store.labels, store.tokenizer
        self.data_report = store.report | {"seconds": time.perf_counter() - started}
        for line in describe_rows(store.report):
            logger.info("%s", line)

        train = self.settings
        sizes: dict[str, Any] = {"batch_size": train.batch_size, "batch_tokens": train.batch_tokens}
        self.train_loader = Loader(
            store.splits["train"], accumulation_steps=train.accumulation_steps, seed=config.seed, **sizes
        )
        self.valid_loader = Loader(store.splits["valid"], **sizes)
        self.test_loader = Loader(store.splits["test"], **sizes)

        is_sparse = self.device.type == "cpu" and takes_sparse(config.optimizer)
        model = build_model(config, self.tokenizer.vocab_size, len(self.labels), sparse_gradients=is_sparse)
        load_vectors(config, model, self.tokenizer)
        load_initial_weights(config, model, self.labels)
        self.model = model.to(self.device)
        self.loss = build_loss(config, self.labels).to(self.device)
        with blamed_on(config, "optimizer", config.optimizer):
            self.optimizer = build_optimizer(self.model, config.optimizer)

        experiment.write("tokenizer.json", tokenizer_json(self.tokenizer))
        experiment.write("labels.json", json.dumps(self.labels, ensure_ascii=False))
        labels = hashlib.sha256(json.dumps(self.labels).encode()).hexdigest()
        self.facts = {"data": store.key, "vocabulary": tokenizer_hash(self.tokenizer), "labels": labels}

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        build_corpus(config)
        build_tokenizer(config)
        placeholders = ["a", "b", *(config.loss.get("class_weights") or {})]
        with torch.device("meta"):
            model = build_model(config, vocab_size=1000, num_labels=len(placeholders))
            loss = build_loss(config, placeholders)
            with blamed_on(config, "optimizer", config.optimizer):
                build_optimizer(model, config.optimizer)
        if loss.is_multi_label != config.data.multi_label:
            fitting = ", ".join(name for name, part in LOSSES.items() if part.is_multi_label == config.data.multi_label)  # type: ignore[attr-defined]
            raise config.error(
                "loss",
                f"loss {config.loss.name} does not fit data.multi_label: {config.data.multi_label}; take {fitting}",
            )
        metrics = MultiLabelCounts if config.data.multi_label else ConfusionMatrix
        known = ("loss", *metrics.scalars)
        if config.train.monitor[1:] not in known:
            raise config.error(
                "train.monitor",
                f"train.monitor: there is no metric {config.train.monitor[1:]!r}; known: {', '.join(known)}",
            )

    def compute_loss(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.model(batch.fields)  # (B, num_labels)
        return {"loss": self.loss(logits, batch.labels)}, logits  # a sum: the loop divides by the global batch

    def new_metrics(self) -> Metrics:
        kind = MultiLabelCounts if self.config.data.multi_label else ConfusionMatrix
        return kind(self.labels, self.device)

    def describe(self, split: str, outputs: Tensor) -> None:
        """predictions.jsonl of the test split, and its surest mistakes in TensorBoard."""
        if split != "test":
            return
        data = self.test_loader.data
        is_multi_label = self.config.data.multi_label
        probabilities = probabilities_of(outputs, is_multi_label=is_multi_label).numpy()
        lines, wrong = [], []
        for i, record in enumerate(self.corpus.records(split, data.rows)):
            line = prediction(
                record,
                self.corpus.fields,
                self.labels,
                probabilities[i],
                is_multi_label=is_multi_label,
                truncated=data.truncated[i],
            )
            lines.append(json.dumps(line, ensure_ascii=False))
            if line["gold"] != line["predicted"]:
                wrong.append((float(probabilities[i].max()), line))
        self.experiment.write("predictions.jsonl", "".join(line + "\n" for line in lines))
        self.log.mistakes(
            split, [line for _, line in sorted(wrong, key=lambda pair: -pair[0])], self.corpus.fields, self.state.step
        )
