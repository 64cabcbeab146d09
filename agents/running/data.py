"""What the loop asks of a task's data, and what a trained run keeps of it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from datasets.batches.loader import Loader
from utils.config.config import Config


class Artifacts(Protocol):
    """What a model's sizes and a prediction depend on besides the config: saved once in the run's folder."""

    @property
    def hashes(self) -> dict[str, tuple[str, str]]:
        """{name: (file, hash)} that a checkpoint belongs to."""
        ...

    def files(self) -> dict[str, str | bytes]:
        """{file: content}."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Those of a run's folder. Raises CheckpointError."""
        ...

    @classmethod
    def placeholder(cls, config: Config) -> Self:
        """Such as build a model of the config before any data is read."""
        ...


class Data(Protocol):
    """The splits of a run. To read them writes nothing but caches."""

    artifacts: Any  # Artifacts
    loaders: dict[str, Loader]  # "train"; "valid" and "test" where there are any
    facts: dict[str, Any]  # hashes that a checkpoint belongs to, those of the artifacts included
    report: dict[str, Any]

    def lines(self, split: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The lines of predictions.jsonl: what the data holds of each row of a split, with the answer to it."""
        ...
