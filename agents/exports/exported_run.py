"""A run in an exported form, opened like the run itself: a folder of its files, and the hash of each.

    EXPORT.json       format, the sha256 of every other file, the run that it was made of, and the check that it passed
    EXAMPLES.jsonl    real texts and what the run answers to them
    run/              config.yaml, tokenizer.json and labels.json of the run
    the model         model.onnx, or model.safetensors under our names (bundle) or those of transformers (hf)

Nothing in it is code, and nothing is run: weights are safetensors, a graph is data for onnxruntime.
"""

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor, nn

from agents.running.trained_run import TrainedRun
from graphs.conversion.encoder_decoder import KINDS, from_theirs
from graphs.conversion.hugging_face import from_hugging_face
from graphs.conversion.onnx import OnnxModel
from utils.errors import CheckpointError, ConfigError, reason_of, unreadable
from utils.files import hub, strict_json
from utils.files.sealed import read_sealed
from utils.files.storage import read_regular
from utils.runs.saved import CONFIG, EXPORT

if TYPE_CHECKING:
    from agents.base import BaseAgent

EXAMPLES, RUN = "EXAMPLES.jsonl", "run"
VERSION = 1
GRAPH, WEIGHTS = "model.onnx", "model.safetensors"
MODELS = {"hf": WEIGHTS, "onnx": GRAPH, "int8": GRAPH, "bundle": WEIGHTS}  # the file of the model in each format
MAX_EXPORT = 2**20  # bytes
ENCODER = "encoders.0."
# The layers of our heads by their names in graphs/conversion, which does not convert DistilBERT's.
HEADS = {
    "bert": {"head.layers.0.": "head."},
    "roberta": {"head.layers.0.": "head."},
    "distilbert": {"head.layers.0.": "pre_classifier.", "head.layers.3.": "classifier."},
}


def open_run(folder: Path) -> TrainedRun:
    """The trained run in a folder, in whatever form it is there. Raises CheckpointError."""
    names = [name for name in (EXPORT, f"{RUN}/{CONFIG}", hub.CONFIG, CONFIG) if _holds(folder, name)]
    if {EXPORT, f"{RUN}/{CONFIG}"} & set(names):  # without the first it is damaged
        return ExportedRun(folder)
    if names == [hub.CONFIG]:
        raise CheckpointError(
            f"{folder}: is a published model without the run that it was made of; name it in init_from to train on it"
        )
    return TrainedRun(folder)


def _holds(folder: Path, name: str) -> bool:
    """Whether a folder has a file; of one that may not be looked into, whoever reads it says so."""
    try:
        return (folder / name).exists()
    except PermissionError:
        return False


class ExportedRun(TrainedRun):
    """An export as the run that it was made of. Raises CheckpointError where a file is missing, or not the one that was written."""

    def __init__(self, folder: Path) -> None:
        self.export = read_export(folder)
        self.format = self.export["format"]
        for name in self.export["files"]:
            if name != MODELS[self.format]:  # which is verified when it is loaded
                verified(folder, name, self.export)
        super().__init__(folder / RUN)
        self.folder = folder
        if MODELS[self.format] == GRAPH:
            require_packages("onnxruntime")

    @functools.cached_property
    def artifacts(self) -> Any:
        return self.agent_type.artifacts_type.load(self.folder / RUN)

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.export["facts"])

    def manifest(self) -> bytes:
        return (self.folder / EXPORT).read_bytes()

    def weights(self) -> dict[str, Tensor]:
        """Under our names, whatever names they have in the folder."""
        content = verified(self.folder, WEIGHTS, self.export)
        try:
            weights = safetensors.torch.load(content)
            if self.format == "bundle":
                return weights
            return self._of_hugging_face(weights, strict_json.parse(verified(self.folder, hub.CONFIG, self.export)))
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.folder / WEIGHTS}: cannot be read as weights ({error})") from None

    def _of_hugging_face(self, weights: dict[str, Tensor], values: dict[str, Any]) -> dict[str, Tensor]:
        """The inverse of hugging_face.py; a BERT of transformers has at least two segments, the run those of its config."""
        kind = values["model_type"]
        if kind in KINDS:
            return from_theirs(weights, kind)
        found, others = from_hugging_face(weights, values)
        found |= {name: weights[name] for name in others}
        if (segments := found.pop("embeddings.segment.weight", None)) is not None and self.config.model.type_vocab_size:
            found["embeddings.segment.weight"] = segments[: self.config.model.type_vocab_size]
        renamed = {}
        for name, tensor in found.items():
            ours = next((ours for ours, theirs in HEADS[kind].items() if name.startswith(theirs)), None)
            renamed[f"{ENCODER}{name}" if ours is None else f"{ours}{name.rsplit('.', 1)[1]}"] = tensor
        return renamed

    def load_model(self, agent: "BaseAgent") -> nn.Module:
        if MODELS[self.format] != GRAPH:
            return super().load_model(agent)
        content = verified(self.folder, GRAPH, self.export)
        with torch.device("meta"):  # which also tells the agent its labels
            agent.build_model(self.artifacts)
        try:
            return OnnxModel(content)
        except Exception as error:  # onnxruntime's own, which have no common base
            reason = reason_of(error)
            raise CheckpointError(f"{self.folder / GRAPH}: is not a graph for onnxruntime ({reason})") from None


def read_export(folder: Path) -> dict[str, Any]:
    """The values of EXPORT.json. Raises CheckpointError."""
    path = folder / EXPORT
    try:
        values = read_sealed(path, MAX_EXPORT)
        if values["version"] != VERSION or values["format"] not in MODELS:
            raise ValueError(
                f"version {values['version']}, format {str(values['format'])[:20]}; this version reads {VERSION}"
            )
        needed = {MODELS[values["format"]], EXAMPLES, f"{RUN}/{CONFIG}"}
        if not needed <= values["files"].keys() or not isinstance(values["facts"], dict):
            raise ValueError("it does not list the files of an export")
    except OSError as error:
        raise CheckpointError(unreadable(path, error)) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if type(error) is ValueError else type(error).__name__
        raise CheckpointError(f"{path}: is damaged ({reason}); export the run again") from None
    return values


def verified(folder: Path, name: str, export: dict[str, Any]) -> bytes:
    """The bytes of an export's file. Raises CheckpointError unless they have the sha256 that they were written with."""
    path = folder / name
    try:
        content = read_regular(path)
    except OSError as error:
        raise CheckpointError(unreadable(path, error)) from None
    if hashlib.sha256(content).hexdigest() != export["files"][name]:
        raise CheckpointError(
            f"{path}: is damaged, or was changed (its sha256 is not that of {EXPORT}); export the run again"
        )
    return content


def require_packages(*names: str) -> None:
    """Raise ConfigError for packages that are not installed."""
    import importlib.util

    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"this form of a run needs {' and '.join(missing)}: pip install {' '.join(missing)}")
