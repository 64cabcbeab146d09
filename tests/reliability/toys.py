"""A toy task without labels: two loss terms, new masks in each epoch, outputs of variable size. Importing it registers the agent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from agents import AGENTS
from agents.base import BaseAgent
from agents.running.building import build_model
from agents.running.data import Data
from agents.running.text_data import TextArtifacts, text_sections
from datasets.batches.text_batch import TextBatch
from datasets.hashing import draw
from datasets.rows.records import Record
from datasets.rows.targets import Target
from datasets.store.store import SplitData
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config.schema import Section
from utils.metrics.base import Metrics

UNKNOWN_ID = 1
MASKED = np.uint64(2**63)  # half of the texts


@dataclass(frozen=True)
class MaskedBatch:
    """texts: with the first token of some hidden in every field; masked (M,): their places; ids (M,): those of field 0; is_long (B,)."""

    texts: TextBatch
    masked: Tensor
    ids: Tensor
    is_long: Tensor
    is_filler: bool = False

    @property
    def rows(self) -> np.ndarray:
        return self.texts.rows

    @property
    def num_tokens(self) -> int:
        return self.texts.num_tokens

    def to(self, device: torch.device) -> Self:
        moved = {name: getattr(self, name).to(device) for name in ("texts", "masked", "ids", "is_long")}
        return replace(self, **moved)


@dataclass(frozen=True)
class MaskedExamples:
    """Texts, of which half are masked: (seed, epoch, row) decides which."""

    data: SplitData
    seed: int

    def __len__(self) -> int:
        return len(self.data)

    @property
    def truncated(self) -> np.ndarray:
        return self.data.truncated

    def lengths(self, epoch: int) -> np.ndarray:
        return self.data.lengths(epoch)

    def collate(self, rows: np.ndarray, epoch: int, step: int = 0) -> MaskedBatch:
        texts = self.data.collate(rows, epoch)
        masked = torch.from_numpy(np.flatnonzero(draw(self.seed, epoch, rows) < MASKED))
        ids = texts.fields[0]["input_ids"][masked, 0].clone()
        for field in texts.fields:
            field["input_ids"][masked, 0] = UNKNOWN_ID
        is_long = torch.from_numpy((self.data.lengths(epoch)[rows] > 15).astype(np.int64))
        return MaskedBatch(texts, masked, ids, is_long)


class MaskedModel(nn.Module):
    """A classifier's encoders, and two heads on their vectors."""

    def __init__(self, base: TextClassifier, vocab_size: int) -> None:
        super().__init__()
        self.encoders, self.head = base.encoders, base.head
        self.base = [base]  # not a module of its own
        size = base.head.layers[-1].out_features
        self.words, self.length = nn.Linear(int(size), vocab_size), nn.Linear(int(size), 2)

    def forward(self, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        """-> (M, V), (B, 2)."""
        hidden = torch.tanh(self.base[0](batch.texts.fields))
        return self.words(hidden[batch.masked]), self.length(hidden)


class Hits:
    """The share of right guesses."""

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(2, dtype=torch.int64, device=device)

    def update(self, outputs: Any, batch: MaskedBatch) -> None:
        right = outputs[0].argmax(dim=-1) == batch.ids
        self.counts += torch.stack([right.sum(), torch.ones_like(right).sum()])

    def compute(self) -> dict[str, float]:
        right, count = self.counts.tolist()
        return {"hits": right / max(1, count)}

    report = compute


class MaskedAgent(BaseAgent):
    """Guesses the first word of a text, and whether the text is long."""

    metrics = ("hits",)
    sections: ClassVar[dict[str, Section]] = {
        **text_sections(Target),
        "model": Section(ENCODERS),
        "head": Section(shared=FeedForward),
        **BaseAgent.sections,
    }

    def build_model(self, artifacts: TextArtifacts) -> nn.Module:
        size = artifacts.tokenizer.vocab_size
        return MaskedModel(build_model(self.config, size, 12, self.device), size)

    def build_loss(self, artifacts: TextArtifacts) -> nn.Module:
        return nn.CrossEntropyLoss(reduction="sum")

    def compute_loss(self, batch: MaskedBatch) -> tuple[dict[str, Tensor], Any]:
        words, length = self.model(batch)
        return {"words": self.loss(words, batch.ids), "length": self.loss(length, batch.is_long)}, (words, length)

    def count(self, batch: MaskedBatch) -> dict[str, float]:
        return {"words": float(len(batch.ids)), "length": float(len(batch.rows))}

    def new_metrics(self) -> Metrics:
        return Hits(self.device)

    def read_data(self) -> Data:
        data = super().read_data()
        for loader in data.loaders.values():
            loader.examples = MaskedExamples(loader.examples, self.config.seed)  # type: ignore[arg-type]
        return data

    def encode(self, records: Sequence[Record]) -> Any:
        return MaskedExamples(super().encode(records), self.config.seed)

    def predictions(self, batch: MaskedBatch, outputs: Any) -> list[Any]:
        guessed = dict(zip(batch.masked.tolist(), outputs[0].argmax(dim=-1).tolist(), strict=True))
        length = outputs[1].argmax(dim=-1).tolist()
        return [{"word": guessed.get(i), "is_long": bool(long)} for i, long in enumerate(length)]

    def summarize(self, values: dict[str, float]) -> dict[str, float]:
        return values | {"perplexity": float(np.exp(values["words"]))}


AGENTS["masked"] = MaskedAgent
