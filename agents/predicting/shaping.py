"""What `predict` answers with labels: calibrated probabilities, the most probable ones, sets of labels, or no label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.predicting.calibration import calibration_of
from agents.predicting.conformal import least_probability
from agents.running.abilities import Classifies, require
from agents.running.predictor import Predictor
from utils.distributed.worker import Worker
from utils.errors import ConfigError


@dataclass(frozen=True)
class Shape:
    """Options of answers. Raises ConfigError for a bad one.

    top_k: number of labels, the most probable ones, whose probabilities are given; calibrate: divide the logits by the temperature
    of the validation split; abstain_below: predict nothing if the predicted label is less probable; coverage: give the set of
    labels that holds the gold one with this probability.
    """

    top_k: int | None = None
    calibrate: bool = False
    abstain_below: float | None = None
    coverage: float | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"command line: --top-k must be at least 1, got {self.top_k}")
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise ConfigError(f"command line: --abstain-below must be between 0 and 1, got {self.abstain_below:g}")
        if self.coverage is not None and not 0 < self.coverage < 1:
            raise ConfigError(f"command line: --coverage must be between 0 and 1, without these, got {self.coverage:g}")

    def given(self) -> list[str]:
        """The options that are not at their defaults, as words of the command line."""
        given = [name for name, value in vars(self).items() if value is not None and value is not False]  # 0.0 is given
        return [f"--{name.replace('_', '-')}" for name in given]


class ShapedPredictor(Predictor):
    """A trained run whose answers have a Shape. Raises ConfigError for a run whose answers cannot have it."""

    def __init__(self, folder: str | Path, device: str, worker: Worker | None, shape: Shape) -> None:
        super().__init__(folder, device, worker)
        self.shape, self.temperature, self.least, self.summary = shape, None, None, ""
        if shape.given():
            self._check()
        if shape.calibrate or shape.coverage is not None:
            calibration = calibration_of(self)
            if shape.calibrate:
                self.temperature = torch.tensor(calibration.temperature, device=self.device)
                self.summary = calibration.describe()
            if shape.coverage is not None:
                self.least = least_probability(calibration.gold[shape.calibrate], shape.coverage)

    def _check(self) -> None:
        names = ", ".join(self.shape.given())
        require(self.run, Classifies, f"predict with {names}")
        num_labels = len(self.artifacts.labels)
        if (self.shape.top_k or 1) > num_labels:
            raise ConfigError(
                f"command line: --top-k must be at most {num_labels}, the number of labels, got {self.shape.top_k}"
            )
        if self.config.data.multi_label and (self.shape.abstain_below, self.shape.coverage) != (None, None):
            raise ConfigError(
                f"{self.folder}: --abstain-below and --coverage need one label a text; a text of this run may have several"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the answers to a text, as plain values."""
        return {
            "checkpoint": self.run.sha256,
            "top_k": self.shape.top_k,
            "abstain_below": self.shape.abstain_below,
            "temperature": None if self.temperature is None else self.temperature.tolist(),
            "least_probability": self.least,
        }

    def answers(self, batch: Any, outputs: Any) -> list[dict[str, Any]]:
        scaled = outputs if self.temperature is None else outputs / self.temperature
        return [self._shaped(answer) for answer in super().answers(batch, scaled)]

    def _shaped(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer with its keys in the order of a line."""
        if not self.shape.given():
            return answer
        probabilities: Mapping[str, float] = answer["probabilities"]
        shaped = {"predicted": answer["predicted"]}
        if self.shape.abstain_below is not None and (best := max(probabilities.values())) < self.shape.abstain_below:
            reason = f"probability {best:.6g} of {answer['predicted']!r} is below {self.shape.abstain_below:g}"
            shaped = {"predicted": None, "abstained": reason}
        if self.least is not None:
            shaped["label_set"] = [label for label, share in probabilities.items() if share >= self.least]
        if self.shape.top_k is not None:
            ordered = sorted(
                probabilities.items(), key=lambda item: -item[1]
            )  # of equal ones the first, as in `decide`
            probabilities = dict(ordered[: self.shape.top_k])
        return {**shaped, "probabilities": probabilities}

    def counts(self, lines: Sequence[Mapping[str, Any]]) -> Counter[str]:
        """What `describe` needs of some lines."""
        answered = [line for line in lines if "problem" not in line]
        sets = [len(line["label_set"]) for line in answered if "label_set" in line]
        return Counter(
            lines=len(answered),
            abstained=sum("abstained" in line for line in answered),
            labels=sum(sets),
            empty=sets.count(0),
        )

    def describe(self, counts: Mapping[str, int]) -> list[str]:
        """Lines for the terminal: the calibration, how often it abstained, how large the sets are."""
        size, found = max(counts["lines"], 1), [self.summary] if self.summary else []
        if self.shape.abstain_below is not None:
            share = 100 * counts["abstained"] / size
            found.append(f"abstained from {counts['abstained']:,} of {counts['lines']:,} texts ({share:.1f}%)")
        if self.shape.coverage is not None:
            empty = f", {counts['empty']:,} empty" if counts["empty"] else ""
            mean = counts["labels"] / size
            found.append(f"{100 * self.shape.coverage:g}% coverage, sets of {mean:.2g} labels on average{empty}")
        return found
