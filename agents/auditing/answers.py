"""What a run answers, as arrays: one label a text, where several labels of interest count as one. N: texts, L: labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.running.predictor import Predictor
from datasets.rows.records import Record
from datasets.rows.targets import LabelTarget
from utils.errors import ConfigError


@dataclass(frozen=True)
class Answers:
    """labels: L names; predicted, gold: (N,) places in them; probabilities: (N, L)."""

    labels: list[str]
    predicted: np.ndarray
    probabilities: np.ndarray
    gold: np.ndarray | None = None


class Judge:
    """A run that is asked. Raises ConfigError for an agent without labels and for a label that the run does not have.

    positive: the label whose probability and error rates are of interest; several count as one label; empty: none. A run with
    several labels a text is asked for it alone: the label or not.
    """

    def __init__(self, predictor: Predictor, positive: Sequence[str]) -> None:
        known = list(predictor.artifacts.labels) if isinstance(predictor.corpus.target, LabelTarget) else []
        if not known:
            raise ConfigError(f"{predictor.folder}: a run of agent {predictor.config.agent} has no labels to audit")
        if unknown := [label for label in positive if label not in known]:
            names = ", ".join(f'"{name}"' if "," in name else name for name in known[:20])  # as --positive reads them
            raise ConfigError(f"command line: --positive {unknown[0]}: is not a label of the run; it has {names}")
        self.predictor, self._known, self._is_multi = predictor, known, bool(predictor.config.data.multi_label)
        if self._is_multi and not positive:
            raise ConfigError(f"{predictor.folder}: texts have several labels; choose with --positive LABEL")
        self.positive = " or ".join(positive) or None
        rest = [f"not {self.positive}"] if self._is_multi else [label for label in known if label not in positive]
        self.labels = [self.positive, *rest] if self.positive else known
        others = len(self.labels) - 1
        self._place = {
            label: 0 if label in positive else self.labels.index(label) if label in rest else others for label in known
        }

    def answers(self, records: Sequence[Record]) -> Answers:
        """The run's answers to records, in their order, with gold where they have labels."""
        lines = list(self.predictor.predict_records(records))
        given = np.array([[line["probabilities"][label] for label in self._known] for line in lines])
        predicted = np.array([self._of(line["predicted"]) for line in lines])
        has_gold = bool(records) and records[0].labels is not None
        gold = np.array([self._of(record.labels) for record in records]) if has_gold else None
        return Answers(self.labels, predicted, self._merged(given), gold)

    def _of(self, names: str | Sequence[str] | None) -> int:
        """The place of a label, or of the first of interest among several."""
        names = [names] if isinstance(names, str) else names or ()
        return min((self._place[name] for name in names), default=len(self.labels) - 1)

    def _merged(self, given: np.ndarray) -> np.ndarray:
        """(N, known labels) -> (N, L)."""
        places = np.array([self._place[label] for label in self._known])
        if self._is_multi:
            of_interest = given[:, places == 0].max(axis=1)
            return np.stack([of_interest, 1 - of_interest], axis=1)
        return given @ np.eye(len(self.labels))[places]
