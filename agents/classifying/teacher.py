"""The teacher of a distillation: a trained run, and its logits for every training text, computed once and cached."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agents.exports.exported_run import open_run
from agents.running.abilities import Classifies, require
from agents.running.predictor import CHUNK, Predictor
from agents.running.text_data import TextData
from datasets.rows.records import Record
from datasets.store.file_hashes import check_writable
from datasets.tokenizers.processes import chunked
from utils.config.config import Config
from utils.errors import CheckpointError
from utils.files.storage import atomic_write, read_regular
from utils.machine.progress_bar import StepBar

logger = logging.getLogger("glassbox")


def check_teacher(config: Config) -> None:
    """Refuse a run that cannot teach before the data is read, which takes its time. Raises CheckpointError, ConfigError."""
    if config.loss.name != "distillation":
        return
    folder = Path(config.loss.teacher)
    if not folder.is_dir():
        raise CheckpointError(f"loss.teacher: there is no run {config.loss.teacher} yet; train the teacher first")
    run = open_run(folder)
    require(run, Classifies, "teach")
    if run.config.data.get("multi_label"):
        raise config.error(
            "loss.teacher", f"loss.teacher: {folder} gives a text any number of labels, but here each has one"
        )


class Teacher:
    """The logits of a trained run for the training texts, its labels in the order of ours. Raises ConfigError where they differ."""

    def __init__(self, config: Config, data: TextData, device: torch.device) -> None:
        folder = Path(config.loss.teacher)
        predictor = Predictor(folder, str(device))
        labels, own = predictor.artifacts.labels, list(data.artifacts.labels)
        if sorted(labels) != sorted(own):
            raise config.error(
                "loss.teacher",
                f"loss.teacher: {folder} knows the labels {', '.join(labels[:20])}, and the data has "
                f"{', '.join(own[:20])}",
            )
        if unknown := [name for name in predictor.corpus.fields if name not in data.corpus.fields]:
            raise config.error(
                "loss.teacher", f"loss.teacher: {folder} reads the field {unknown[0]!r}, which is not in data.fields"
            )
        self.sha256 = predictor.run.sha256
        order = [labels.index(label) for label in own]
        self.all_logits = torch.from_numpy(self._cached(predictor, data)[:, order].copy())  # (N, L)

    def logits(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """(B, L) of the training texts with these numbers."""
        return self.all_logits[rows].to(device, non_blocking=True)

    def _cached(self, predictor: Predictor, data: TextData) -> np.ndarray:
        shape = (len(data.splits["train"]), len(predictor.artifacts.labels))
        key = json.dumps([self.sha256, data.key, predictor.corpus.fields])
        path = Path(data.corpus.cache_folder) / "teachers" / hashlib.sha256(key.encode()).hexdigest()[:32]
        if (found := _read(path, shape)) is not None:
            return found
        logger.info("teacher %s: predicting %s texts", predictor.folder, f"{shape[0]:,}")
        answers = np.concatenate([logits_of(predictor, chunk) for chunk in _chunks(predictor, data)])
        check_writable(path.parent)
        content = answers.astype(np.float32).tobytes()
        atomic_write(path, hashlib.sha256(content).digest() + content)
        return answers


def logits_of(predictor: Predictor, records: list[Record]) -> np.ndarray:
    """(N, L) in the order of the records."""
    logits = np.empty((len(records), len(predictor.artifacts.labels)), dtype=np.float32)
    for batch, outputs in predictor.outputs(predictor.agent.encode(records)):
        logits[batch.rows] = outputs.cpu().numpy()
    return logits


def _chunks(predictor: Predictor, data: TextData) -> Iterator[list[Record]]:
    """The training records with the teacher's fields, in its order."""
    places = [data.corpus.fields.index(name) for name in predictor.corpus.fields]
    with StepBar(len(data.splits["train"]), "teacher", "texts") as bar:
        for number, chunk in enumerate(chunked(data.records("train"), CHUNK)):
            bar.update(number * CHUNK)
            yield [record._replace(texts=tuple(record.texts[place] for place in places)) for record in chunk]


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """What was kept; None where nothing is, or not what was written. Raises StorageError where it cannot be read now."""
    try:
        content = read_regular(path)
    except OSError:
        return None
    digest, values = content[:32], content[32:]
    if hashlib.sha256(values).digest() != digest or len(values) != 4 * shape[0] * shape[1]:
        return None
    return np.frombuffer(values, np.float32).reshape(shape)
