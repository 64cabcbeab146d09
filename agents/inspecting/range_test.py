"""The learning-rate range test: training steps at rates that rise from step to step, until the loss explodes."""

from collections.abc import Iterator, Sequence

from agents.base import BaseAgent
from agents.inspecting.rehearsal import train_steps
from utils.analysis.range_test import has_exploded, smoothed
from utils.errors import NonFiniteError
from utils.optimizers.schedules import Schedule


class RisingRate(Schedule):
    """The given learning rates, one a step, for the parameter group with the highest; the others keep their ratio to it."""

    def __init__(self, lrs: Sequence[float], highest: float) -> None:
        super().__init__(len(lrs))
        self.lrs, self.highest = lrs, highest

    def factor(self, step: int) -> float:
        return self.lrs[step] / self.highest


def range_test(agent: BaseAgent, lrs: Sequence[float]) -> Iterator[float]:
    """Train a step at each of the rates; -> the loss before each, until it explodes or is no number."""
    agent.scheduler = RisingRate(lrs, max(group["initial_lr"] for group in agent.optimizer.param_groups))
    losses: list[float] = []
    try:
        for step in train_steps(agent, len(lrs)):
            losses.append(step.loss)
            yield step.loss
            if has_exploded(smoothed(losses)):
                return
    except NonFiniteError:
        return
