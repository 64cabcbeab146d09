"""A pre-training run as a scorer of texts. Raises ConfigError for a run of an agent that has no masked language model."""

from pathlib import Path
from typing import Any

from agents.language_models.scoring import Scorer
from agents.running.abilities import ScoresTokens, require
from agents.running.predictor import Predictor
from agents.running.trained_run import TrainedRun


def open_scorer(folder: str, device: str, verb: str) -> Scorer:
    """The scorer of a run's folder; verb: what is asked of it, for the message."""
    require(TrainedRun(Path(folder)), ScoresTokens, verb)
    agent: Any = Predictor(folder, device).agent
    scorer: Scorer = agent.scorer()
    return scorer
