"""What the loop asks of a task's data, and what a trained run keeps of it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from datasets.batches.examples import Examples
from datasets.batches.loader import Loader
from utils.config.config import Config
from utils.distributed.worker import Worker


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
        """Placeholders, to build the model of a config before any data is read."""
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


def build_loader(config: Config, worker: Worker, examples: Examples) -> Loader:
    """The batches of a split that the options of `train` ask for, for this rank."""
    sizes = {name: config.train[name] for name in ("batch_size", "batch_tokens", "accumulation_steps")}
    return Loader(examples, **sizes, seed=config.seed, rank=worker.rank, num_ranks=worker.size)


def facts_of(store: dict[str, Any], artifacts: Artifacts) -> dict[str, Any]:
    """What a checkpoint belongs to: the facts of the token store, and the hashes of the artifacts."""
    return store | {name: found for name, (_, found) in artifacts.hashes.items()}
