"""The folder of a trained run: its config, its artifacts and its best weights, each verified against the others."""

import functools
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from utils.config.config import Config
from utils.config.run_settings import RunSettings
from utils.config.schema import check_config, lookup
from utils.errors import CheckpointError, ConfigError
from utils.files.misfits import check_fits
from utils.files.sealed import read_sealed
from utils.runs.checkpoint import MANIFEST, CheckpointStore, load_weights, read_manifest, refuse_other
from utils.runs.saved import CONFIG, REPORT, saved_config

if TYPE_CHECKING:
    from agents.base import BaseAgent

logger = logging.getLogger("glassbox")


def run_folder(path: Path) -> Path:
    """The run's folder of a path that names it, or one of its checkpoints."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


class TrainedRun:
    """A run that can be used. Raises CheckpointError where there is none, or one that is damaged or of another version."""

    def __init__(self, path: Path) -> None:
        """path: the run's folder, for its best weights, or one of its checkpoints' folders."""
        from agents import AGENTS  # which imports this module

        self.folder = folder = run_folder(path)
        self._chosen = None if path == folder else path
        self.config = Config(saved_config(folder), folder / CONFIG, {})
        self.config.setdefault("agent", "classification")  # as of runs before there were others
        try:
            self.agent_type: type[BaseAgent] = lookup(AGENTS, self.config.agent, self.config, "agent")
            check_config(self.config, self.agent_type.sections, RunSettings)
        except ConfigError as error:
            raise CheckpointError(f"{error}; the run is of another version") from None

    @functools.cached_property
    def artifacts(self) -> Any:
        """Its tokenizer, labels, ...: what its agent keeps."""
        if not (self.folder / "checkpoints").exists():  # a start that ended at its data has kept no artifacts, either
            raise self._untrained()
        return self.agent_type.artifacts_type.load(self.folder)

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """What the finished run reports; empty where it has not finished, of another checkpoint, or where it is damaged."""
        try:
            report = read_sealed(self.folder / REPORT)
        except (OSError, ValueError, KeyError):
            return {}
        step = (report.get("best") or {}).get("step") or (report.get("train") or {}).get("steps")
        return report if self._chosen is None or self._chosen.name == f"step-{step}" else {}

    @functools.cached_property
    def checkpoint(self) -> Path:
        """The folder of the best checkpoint, or of the chosen one."""
        if self._chosen is not None:
            return self._chosen
        store = CheckpointStore(self.folder / "checkpoints")
        manifest = store.latest()
        for warning in store.warnings:
            logger.warning("warning: %s", warning)
        if manifest is None:
            raise self._untrained()
        return self.folder / "checkpoints" / f"step-{manifest['best_step'] or manifest['step']}"

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What the best checkpoint belongs to."""
        try:
            return dict(read_manifest(self.checkpoint)["facts"])
        except CheckpointError as error:
            raise self._with_hint(error) from None

    def weights(self) -> dict[str, Tensor]:
        """The best weights, unless the artifacts are not theirs: with others they would give answers, and wrong ones."""
        facts = self.facts
        try:
            weights = load_weights(self.checkpoint)
        except CheckpointError as error:
            raise self._with_hint(error) from None
        for name, (file, found) in self.artifacts.hashes.items():
            refuse_other(self.folder / file, name, found, facts, self.checkpoint)
        return weights

    def load_model(self, agent: "BaseAgent") -> nn.Module:
        """The agent's model with these weights. Raises CheckpointError, or what its parts raise for a config that is not theirs."""
        weights = self.weights()
        fields = self.config.get("data", {}).get("fields", [])
        if len(fields) > len(weights):  # thousands of encoders take their time, even on meta
            raise ValueError(f"{len(fields):,} fields, {len(weights):,} weights")
        with torch.device("meta"):  # sizes are not believed before the weights have shown them
            check_fits(weights, agent.build_model(self.artifacts).state_dict(), self.folder)
        model = agent.build_model(self.artifacts)
        model.load_state_dict(weights)
        return model

    def warn_of_other_data(self, data: str, consequence: str = "") -> None:
        """Warn where a hash of the data as its files are now is not that of the training."""
        if not self.is_trained_on(data):
            logger.warning("warning: the data has changed since %s was trained%s", self.folder, consequence)

    def is_trained_on(self, data: str) -> bool:
        """Whether this is the hash of the data of the training."""
        return bool(data == self.facts.get("data"))

    def _untrained(self) -> CheckpointError:
        return CheckpointError(f"{self.folder}: has no checkpoint yet; train it first: python main.py CONFIG")

    @property
    def sha256(self) -> str:
        """Of the best checkpoint's list of files, and so of the weights."""
        return hashlib.sha256(self.manifest()).hexdigest()

    def manifest(self) -> bytes:
        """The best checkpoint's list of files with their hashes."""
        return (self.checkpoint / MANIFEST).read_bytes()

    def _with_hint(self, error: CheckpointError) -> CheckpointError:
        hint = (
            f"without {self.folder / REPORT} the command that trained the run resumes it, with the best of what is left"
        )
        return CheckpointError(f"{error}; {hint}")
