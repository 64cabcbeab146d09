"""The learning-rate range test: steps at rising rates (Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3)."""

import math
from collections.abc import Iterator, Sequence

from agents.base import BaseAgent
from agents.inspecting.rehearsal import train_steps
from utils.errors import NonFiniteError
from utils.optimizers.schedules import Schedule

SMOOTHING = 0.9  # of the moving average of losses
EXPLODED = 4.0  # times the least average so far: the test has seen enough
LEAST_FALL = 0.02  # of the first average: a loss that falls less has not been learning


def rates(low: float, high: float, num_steps: int) -> list[float]:
    """Learning rates from low to high, each the same factor above the one before."""
    return [low * (high / low) ** (step / (num_steps - 1)) for step in range(num_steps)]


def smoothed(losses: Sequence[float]) -> list[float]:
    """Moving averages of the losses, without bias towards zero at the start (Kingma and Ba 2015, section 3)."""
    total, weight, values = 0.0, 0.0, []
    for loss in losses:
        total, weight = SMOOTHING * total + (1 - SMOOTHING) * loss, SMOOTHING * weight + 1 - SMOOTHING
        values.append(total / weight)
    return values


def has_exploded(averages: Sequence[float]) -> bool:
    """Whether the last average is far above the least one, or is no number."""
    return not math.isfinite(averages[-1]) or averages[-1] > EXPLODED * min(averages)


def suggested(lrs: Sequence[float], averages: Sequence[float]) -> float | None:
    """A tenth of the rate at which the smoothed loss is least; None where it does not fall.

    At the least loss it is about to rise, and the rate is too high to train with: practitioners take a tenth of it.
    """
    lowest = min(range(len(averages)), key=averages.__getitem__)
    if averages[lowest] > (1 - LEAST_FALL) * averages[0]:
        return None
    return lrs[lowest] / 10


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
        if not losses:
            raise
