"""Text -> a number, such as a rating: least squares over an encoder with one output. B: texts."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.base import BaseAgent
from agents.running.building import build_model
from agents.running.text_data import TextArtifacts, text_sections
from datasets.batches.text_batch import TextBatch
from datasets.rows.targets import NumberTarget
from datasets.tokenizers.word_vectors import WordVectors
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward
from utils.config.schema import Section


class RegressionAgent(BaseAgent):
    """Trains a model that predicts a number, by the squared error."""

    monitor = "-absolute_error"  # the default of train.monitor
    metrics = ("absolute_error", "root_mean_squared_error")
    target = NumberTarget
    sections: ClassVar[dict[str, Section]] = {
        **text_sections(NumberTarget),
        "model": Section(ENCODERS),
        "vectors": Section(shared=WordVectors, is_optional=True),
        "head": Section(shared=FeedForward),
        **BaseAgent.sections,
    }

    def build_model(self, artifacts: TextArtifacts) -> nn.Module:
        return build_model(self.config, artifacts.tokenizer.vocab_size, 1, self.device)

    def build_loss(self, artifacts: TextArtifacts) -> nn.Module:
        return nn.MSELoss(reduction="sum")

    def compute_loss(self, batch: TextBatch) -> tuple[dict[str, Tensor], Tensor]:
        predicted = self.model(batch.fields).float().squeeze(-1)  # (B,)
        return {"loss": self.loss(predicted, batch.columns["number"])}, predicted

    def count(self, batch: TextBatch) -> dict[str, float]:
        return {"loss": float(len(batch.rows))}

    def new_metrics(self) -> "Errors":
        return Errors(self.device, self.chosen_metrics(self.metrics))

    def predictions(self, batch: TextBatch, outputs: Tensor) -> list[float]:
        return outputs.tolist()

    def evidence(self, outputs: Tensor, number: int) -> Tensor:
        """(B, 1) -> (B,): the number itself, for `explain`."""
        return outputs[:, number]


class Errors:
    """How far predictions are from the numbers: mean absolute error, and root mean squared error."""

    def __init__(self, device: torch.device, names: list[str]) -> None:
        self.names = names
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.counts = torch.zeros(3, dtype=wide, device=device)  # sums of |error| and error^2, number of texts

    def update(self, outputs: Tensor, batch: TextBatch) -> None:
        """outputs: the predicted numbers (B,)."""
        errors = (outputs - batch.columns["number"]).to(self.counts.dtype)
        self.counts += torch.stack([errors.abs().sum(), errors.square().sum(), torch.ones_like(errors).sum()])

    def compute(self) -> dict[str, float]:
        absolute, squared, num_texts = self.counts.tolist()
        size = max(num_texts, 1.0)
        found = {"absolute_error": absolute / size, "root_mean_squared_error": (squared / size) ** 0.5}
        return {name: found[name] for name in self.names}

    report = compute
