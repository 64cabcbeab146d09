"""Models of a config that are each trained on a part of its training rows, and judge the rest. N: rows, L: labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.base import BaseAgent
from agents.inspecting.label_errors import LabelErrors, find_label_errors
from agents.inspecting.rehearsal import prepared, train_steps
from agents.running.abilities import Classifies
from agents.running.predictor import batches_of
from datasets.batches.examples import Batch, Examples
from datasets.rows.records import Record
from datasets.rows.split import folds, text_key
from utils.config.config import Config
from utils.errors import ConfigError, DataError
from utils.machine.progress_bar import StepBar

NUM_FOLDS = 5


@dataclass(frozen=True)
class Part:
    """Some rows of a split, as examples 0, 1, ... of their own."""

    whole: Examples
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    def lengths(self, epoch: int) -> np.ndarray:
        return self.whole.lengths(epoch)[self.chosen]

    def collate(self, rows: np.ndarray, epoch: int, step: int = 0) -> Batch:
        return self.whole.collate(self.chosen[rows], epoch, step)


def label_errors(config: Config) -> tuple[LabelErrors, list[Record], list[str]]:
    """What models of a config, each trained on four of five folds of the training rows, say of the labels of the fifth.

    -> the suspects, the training records, the labels' names. Raises ConfigError for a task without one label a row, DataError for
    too few rows.
    """
    _check(config)
    with prepared(config) as agent:
        data: Any = agent.data
        labels, names = np.asarray(data.splits["train"].columns["label"]), list(agent.artifacts.labels)
        records = list(data.records("train"))
    keys = np.array([text_key(record.texts) for record in records], dtype=np.uint64)
    try:
        fold = folds(keys, labels, NUM_FOLDS, config.seed)
    except ValueError:
        raise DataError(
            f"inspect: --labels needs at least {NUM_FOLDS} different training texts, got {len(set(keys))}"
        ) from None
    probabilities = np.full((len(labels), len(names)), np.nan)
    for number in range(NUM_FOLDS):
        is_left_out = fold == number
        known = np.unique(labels[~is_left_out])  # of another label the model cannot say anything
        found = predicted(config, ~is_left_out, number)
        probabilities[np.ix_(is_left_out, known)] = found[:, known]
    return find_label_errors(probabilities, labels), records, names


def _check(config: Config) -> None:
    """Raise ConfigError for a task whose rows have not one label each."""
    from agents import AGENTS  # which imports all agents

    able = [name for name, agent in AGENTS.items() if issubclass(agent, Classifies)]
    if config.agent not in able or config.data.multi_label:
        raise ConfigError(
            f"inspect: --labels needs rows with one label each: agent {' or '.join(able)}, without data.multi_label"
        )


def predicted(config: Config, is_learnt: np.ndarray, number: int) -> np.ndarray:
    """(M, L) probabilities of the M training rows that are not learnt, by a model trained on the others for all its epochs."""
    with prepared(config) as agent:
        loader = agent.data.loaders["train"]
        whole = loader.examples
        loader.examples = Part(whole, np.flatnonzero(is_learnt))
        agent.load_checkpoint()
        num_steps = loader.total_steps(agent.settings.num_epochs, agent.settings.num_steps)
        with StepBar(num_steps, f"fold {number + 1} of {NUM_FOLDS}", "steps") as bar:
            for step, _ in enumerate(train_steps(agent, num_steps), start=1):
                bar.update(step)
        return probabilities_of(agent, Part(whole, np.flatnonzero(~is_learnt)))


@torch.no_grad()
def probabilities_of(agent: BaseAgent, part: Part) -> np.ndarray:
    """(M, L) of a part's rows."""
    found: dict[int, np.ndarray] = {}
    agent.model.eval()
    with agent.checkpointer.evaluated_weights():
        for batch in batches_of(part):
            outputs = agent.compute_loss(batch.to(agent.device))[1]
            found |= zip(batch.rows.tolist(), (own for own, _ in agent.predictions(batch, outputs)), strict=True)
    return np.stack([found[row] for row in part.chosen.tolist()])  # a batch has its rows' numbers in the whole split
