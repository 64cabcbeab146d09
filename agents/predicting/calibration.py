"""Calibrated probabilities: the temperature that fits the validation split, kept in the run's folder. N: texts, L: labels."""

import json
import logging
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.running.other_rows import present_data, split_records
from agents.running.predictor import CHUNK, Predictor
from datasets.tokenizers.processes import chunked
from utils.errors import StorageError
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import atomic_write
from utils.metrics.scores import CalibrationError

FILE = "calibration.json"
BOUNDS = (0.05, 20.0)  # of a temperature: the NLL of labels that are all right has no minimum
HALVINGS = 50  # of that interval's logarithm

logger = logging.getLogger("glassbox")


class Calibration(NamedTuple):
    """Calibration of a checkpoint's probabilities, measured on its validation split.

    temperature: one, or one for each label if a text may have several; nll, ece: [without it, with it]; gold: the probabilities
    of the gold labels, ascending, without and with it, of which conformal prediction takes a quantile; none with several labels.
    """

    temperature: list[float]
    nll: list[float]
    ece: list[float]
    gold: list[list[float]]
    num_rows: int

    def describe(self) -> str:
        """One line for the terminal."""
        low, high = min(self.temperature), max(self.temperature)
        temperature = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
        if low <= BOUNDS[0] * 1.001 or high >= BOUNDS[1] / 1.001:
            temperature += f" (at a bound, {BOUNDS[0]:g} or {BOUNDS[1]:g}: too few rows, or all right or all wrong)"
        nll, ece = (f"{before:.4f} -> {after:.4f}" for before, after in (self.nll, self.ece))
        return f"calibration on {self.num_rows:,} validation rows: temperature {temperature}, NLL {nll}, ECE {ece}"


def calibration_of(predictor: Predictor) -> Calibration:
    """The calibration of a run's checkpoint, from its folder or else made and kept there; the first process makes it.

    Raises ConfigError for a run without a validation split, DataError where its files are gone.
    """
    with predictor.worker.first_alone("calibration"):
        return _kept(predictor) or _made(predictor)


def _kept(predictor: Predictor) -> Calibration | None:
    """The calibration in the run's folder; None where there is none, or that of another checkpoint, or a damaged one."""
    try:
        values = read_sealed(predictor.folder / FILE)
        return Calibration(**values["calibration"]) if values["checkpoint"] == predictor.run.sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(predictor: Predictor) -> Calibration:
    calibration = calibrate(*validation_outputs(predictor), is_multi_label=predictor.config.data.multi_label)
    if not predictor.run.is_trained_on(present_data(predictor)):
        return calibration  # of changed files, which may be as they were by the next call
    values = sealed({"checkpoint": predictor.run.sha256, "calibration": calibration._asdict()})
    try:
        atomic_write(predictor.folder / FILE, json.dumps(values))
    except StorageError as error:  # a run that is shared read-only
        logger.warning("warning: the calibration is not kept, and made again by the next call: %s", error)
    return calibration


def validation_outputs(predictor: Predictor) -> tuple[Tensor, Tensor]:
    """Logits (N, L) and labels, (N,) or of several (N, L), of the validation split."""
    records, _ = split_records(predictor, "valid", "--calibrate and --coverage are fitted on it")
    logits, labels = list[Tensor](), list[Tensor]()
    for chunk in chunked(records, CHUNK):
        for batch, outputs in predictor.outputs(predictor.agent.encode(chunk)):
            logits.append(outputs.cpu())
            labels.append(batch.columns["label"].cpu())  # type: ignore[attr-defined]
    return torch.cat(logits), torch.cat(labels)


def calibrate(logits: Tensor, labels: Tensor, *, is_multi_label: bool) -> Calibration:
    """Fit the temperature, and measure without and with it."""
    temperature = fit_temperature(logits, labels, is_multi_label=is_multi_label)
    both = (logits, logits / temperature)
    return Calibration(
        temperature.reshape(-1).tolist(),
        [nll(each, labels, is_multi_label=is_multi_label) for each in both],
        [_ece(each, labels, is_multi_label=is_multi_label) for each in both],
        [] if is_multi_label else [_gold_probabilities(each, labels) for each in both],
        len(labels),
    )


def fit_temperature(logits: Tensor, labels: Tensor, *, is_multi_label: bool) -> Tensor:
    """The temperature, float32, that minimises the NLL of softmax(logits / temperature), or of each label's sigmoid (L,).

    Guo et al. 2017. In the inverse temperature the NLL is convex, so its slope is bisected. A label that all texts have, or none,
    keeps 1.
    """
    logits, labels = logits.double(), labels if not is_multi_label else labels.double()

    def slope(inverse: Tensor) -> Tensor:
        """The derivative of the NLL by the inverse temperature."""
        if is_multi_label:
            return ((torch.sigmoid(inverse * logits) - labels) * logits).sum(dim=0)
        gold = logits.gather(1, labels[:, None])[:, 0]
        return ((torch.softmax(inverse * logits, dim=-1) * logits).sum(dim=-1) - gold).sum()

    like = logits[0] if is_multi_label else logits[0, 0]
    low, high = (torch.full_like(like, bound).log() for bound in BOUNDS)  # of log temperature
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_too_high = slope((-middle).exp()) < 0
        low, high = torch.where(is_too_high, low, middle), torch.where(is_too_high, middle, high)
    temperature = high.exp()
    if is_multi_label:
        is_constant = (labels == labels[0]).all(dim=0)
        temperature = torch.where(is_constant, torch.ones_like(temperature), temperature)
    return temperature.float()


def nll(logits: Tensor, labels: Tensor, *, is_multi_label: bool) -> float:
    """The negative log-likelihood per text, or per decision if a text may have several labels."""
    if is_multi_label:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), labels.double()).item()
    return torch.nn.functional.cross_entropy(logits.double(), labels).item()


def _ece(logits: Tensor, labels: Tensor, *, is_multi_label: bool) -> float:
    error = CalibrationError(logits.shape[-1], is_multi_label=is_multi_label)
    error.update(logits, SimpleNamespace(columns={"label": labels}))
    return error.compute()["ece"]


def _gold_probabilities(logits: Tensor, labels: Tensor) -> list[float]:
    gold: list[Any] = torch.softmax(logits, dim=-1).gather(1, labels[:, None])[:, 0].sort().values.tolist()
    return gold
