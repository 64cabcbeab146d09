"""An agent to look into: of a trained run, or of a config before its first step."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.base import BaseAgent
from agents.inspecting.rehearsal import rehearsal
from agents.running.predictor import Predictor
from graphs.conversion.onnx import OnnxModel
from utils.errors import ConfigError


@contextlib.contextmanager
def opened(place: str, overrides: Sequence[str] = ()) -> Iterator[BaseAgent]:
    """The agent with its model. Raises ConfigError for a bad config, CheckpointError for a run that cannot be used."""
    from agents import checked_config  # which imports all agents

    if not Path(place).is_dir():
        with rehearsal(checked_config(place, overrides)) as agent:
            yield agent
        return
    if overrides:
        raise ConfigError(
            f"command line: {overrides[0]}: a run's options are those that it was trained with; leave it out"
        )
    agent = Predictor(place).agent
    if isinstance(agent.model, OnnxModel):
        raise ConfigError(f"{place}: a graph of onnxruntime shows no tensors; give the run it was exported from")
    yield agent
