"""What a trained run can be asked for, besides its test: an agent has an ability if its class has the methods."""

from typing import Any, Protocol, runtime_checkable

from agents.running.trained_run import TrainedRun
from utils.errors import ConfigError


@runtime_checkable
class Predicts(Protocol):
    """Answers rows: `predict`, and `test --data`."""

    def encode(self, records: Any) -> Any: ...


@runtime_checkable
class Classifies(Protocol):
    """Gives labels probabilities: the options of `predict` that concern those."""

    def probabilities(self, outputs: Any) -> Any: ...


@runtime_checkable
class ScoresTokens(Protocol):
    """Fills gaps and scores sentences: `fill`, `minimal-pairs`."""

    def scorer(self) -> Any: ...


@runtime_checkable
class Generates(Protocol):
    """Writes a text for a text: `generate`."""

    def translator(self) -> Any: ...


@runtime_checkable
class Explains(Protocol):
    """Predicts a label or a number for a text, whose words then have scores: `explain`."""

    def evidence(self, outputs: Any, number: int) -> Any: ...


def require(run: TrainedRun, ability: type, verb: str) -> None:
    """Raise ConfigError, which names the agents that can, unless the run's agent has the ability."""
    from agents import AGENTS

    if not issubclass(run.agent_type, ability):
        able = [name for name, agent in AGENTS.items() if issubclass(agent, ability)]
        raise ConfigError(f"{run.folder}: a run of agent {run.config.agent} cannot {verb}; {', '.join(able)} can")
