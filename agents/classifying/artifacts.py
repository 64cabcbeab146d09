"""What a trained classifier keeps besides its weights: its tokenizer and its labels."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from agents.running.text_data import TextArtifacts
from datasets.rows.labels import labels_hash
from utils.config.config import Config
from utils.errors import CheckpointError, unreadable
from utils.files import strict_json
from utils.files.storage import read_regular

LABELS = "labels.json"


@dataclass(frozen=True)
class LabelArtifacts(TextArtifacts):
    """The tokenizer and the labels, in the order of the model's outputs."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        labels = saved_labels(folder)
        return replace(super().load(folder), labels=labels)

    @classmethod
    def placeholder(cls, config: Config) -> Self:
        labels = ["a", "b", *(config.get("loss", {}).get("class_weights") or {})]
        return replace(super().placeholder(config), labels=labels)

    @property
    def hashes(self) -> dict[str, tuple[str, str]]:
        return super().hashes | {"labels": (LABELS, labels_hash(list(self.labels)))}

    def files(self) -> dict[str, Any]:
        return super().files() | {LABELS: json.dumps(list(self.labels), ensure_ascii=False)}


def saved_labels(folder: Path) -> list[str]:
    """The labels of a run, in the order of its outputs. Raises CheckpointError."""
    path = folder / LABELS
    try:
        labels = strict_json.parse(read_regular(path))
    except (OSError, ValueError) as error:
        raise CheckpointError(unreadable(path, error)) from None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise CheckpointError(f"{path}: is not a list of labels")
    return labels
