"""Learning-rate schedules: a factor on the optimizer's lr as a pure function of the step, so that resume needs no state.

`ReduceOnPlateau` alone looks at the score, and saves what it saw.
"""

import math
from typing import Any

from utils.optim import Optimizer


class Schedule:
    """A constant learning rate, and the base of the others: they say `factor`."""

    def __init__(self, total_steps: int) -> None:
        if total_steps < 1:
            raise ValueError(f"a schedule needs at least one step, got {total_steps}")
        self.total_steps = total_steps

    def factor(self, step: int) -> float:
        """What the lr is multiplied by at `step`, the number of updates done so far."""
        return 1.0

    def observe(self, gain: float) -> None:
        """Hear the score of a validation, larger is better."""

    def apply(self, optimizer: Optimizer, step: int) -> None:
        """Set the lr of every parameter group for the update after `step`."""
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.factor(step)

    def state_dict(self) -> dict[str, Any]:
        """What `factor` depends on besides the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""


class Constant(Schedule):
    """The optimizer's lr at every step."""


class _WarmUp(Schedule):
    def __init__(self, total_steps: int, *, warmup_steps: int = 0) -> None:
        super().__init__(total_steps)
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
        if warmup_steps > total_steps:
            raise ValueError(f"warmup_steps must be at most the {total_steps} steps of the run, got {warmup_steps}")
        self.warmup_steps = warmup_steps

    def factor(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.decay((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))

    def decay(self, progress: float) -> float:
        """The factor after the warm-up; progress runs from 0 to 1."""
        raise NotImplementedError


class Linear(_WarmUp):
    """Linear warm-up, then a straight line down to zero at the run's last step."""

    def decay(self, progress: float) -> float:
        return max(0.0, 1.0 - progress)


class Cosine(_WarmUp):
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017, eq. 5, one cycle)."""

    def decay(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class ReduceOnPlateau(Schedule):
    """Multiplies the lr by `decay` whenever the monitored score has not improved for more than `patience` validations."""

    def __init__(self, total_steps: int, *, decay: float = 0.5, patience: int = 1, min_factor: float = 0.0) -> None:
        super().__init__(total_steps)
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, got {decay}")
        if patience < 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        if not 0 <= min_factor <= 1:
            raise ValueError(f"min_factor must be between 0 and 1, got {min_factor}")
        self.decay, self.patience, self.min_factor = decay, patience, min_factor
        self.current, self.best, self.num_bad = 1.0, -math.inf, 0

    def factor(self, step: int) -> float:
        return self.current

    def observe(self, gain: float) -> None:
        self.num_bad = 0 if gain > self.best else self.num_bad + 1
        self.best = max(self.best, gain)
        if self.num_bad > self.patience:
            self.current, self.num_bad = max(self.current * self.decay, self.min_factor), 0

    def state_dict(self) -> dict[str, Any]:
        return {"current": self.current, "best": self.best, "num_bad": self.num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.current, self.best, self.num_bad = state["current"], state["best"], state["num_bad"]


SCHEDULERS: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "reduce_on_plateau": ReduceOnPlateau,
}
