"""A trained run as the server holds it: what it answers, what it reads, and its batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from agents.explaining.attribution import has_gradients
from agents.exports.exported_run import open_run
from agents.running.abilities import Generates, ScoresTokens
from agents.running.predictor import Predictor
from agents.serving.batching import Batcher
from agents.translating.generator import Generator
from datasets.rows.predictions import beside
from datasets.rows.records import Record, Skipped

Kind = Literal["labels", "number", "gaps", "text"]  # what a run answers


class ServedRun:
    """A run under its name. Raises CheckpointError where the folder holds no usable run."""

    def __init__(self, name: str, folder: Path, device: str, *, max_batch: int = 64, max_waiting: int = 1024) -> None:
        agent = open_run(folder).agent_type
        self.name = name
        # Equal texts get equal answers: nothing is drawn at random, whatever the run's own options say.
        self.predictor = (
            Generator(folder, device, sample=False) if issubclass(agent, Generates) else Predictor(folder, device)
        )
        self.scorer: Any = self.predictor.agent.scorer() if isinstance(self.predictor.agent, ScoresTokens) else None
        self.labels = list(getattr(self.predictor.artifacts, "labels", ()))
        self.kind: Kind = self._kind()
        self.fields = ["text"] if self.scorer else list(self.predictor.reader("error").fields)
        self.is_pair = self.kind in ("labels", "number") and self.predictor.corpus.needs_all_fields
        self.batcher: Batcher[Record, dict[str, Any]] = Batcher(
            lambda records: list(self.predictor.predict_records(records)),
            max_batch=max_batch,
            max_waiting=max_waiting,
            length=lambda record: sum(map(len, record.texts)),
        )

    def _kind(self) -> Kind:
        if self.scorer is not None:
            return "gaps"
        return "text" if isinstance(self.predictor, Generator) else "labels" if self.labels else "number"

    def described(self) -> dict[str, Any]:
        """What a client must know to ask it."""
        mask = {"mask": self.scorer.mask} if self.scorer is not None else {}
        can_explain = self.kind in ("labels", "number") and has_gradients(self.predictor)
        known = {"name": self.name, "kind": self.kind, "fields": self.fields, "labels": self.labels}
        return known | {"words": can_explain} | mask

    def records(self, texts: Sequence[Mapping[str, str]]) -> list[Record | Skipped]:
        """Texts, given by their fields, as records; Skipped, with the reason, for one that cannot be used."""
        return list(self.predictor.reader("skip").answers(self.predictor.rows(texts)))

    async def predict(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """A line for each record, as in predictions.jsonl and with the run's name. Raises Busy."""
        lines = await self.batcher.submit(records)
        return [{"run": self.name, **beside(line, self.fields, {"run"})} for line in lines]


def open_runs(folders: Sequence[str], device: str, **limits: int) -> dict[str, ServedRun]:
    """Runs by their names, in order: the folder's name, or the whole path where two folders have the same name."""
    paths = list(dict.fromkeys(Path(folder) for folder in folders))
    names = [path.absolute().name for path in paths]
    named = {name if names.count(name) == 1 else str(path): path for name, path in zip(names, paths, strict=True)}
    return {name: ServedRun(name, path, device, **limits) for name, path in named.items()}
