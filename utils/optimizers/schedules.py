"""Learning-rate schedules: a factor on the optimizer's lr as a pure function of the step, so that resume needs no state.

Only `ReduceOnPlateau` depends on the score, and has state to save.
"""

import math
from typing import Any

from utils.optimizers.building import Optimizer


class Schedule:
    """Base of the schedules: a constant learning rate, unless `factor` is overridden."""

    has_length = False  # whether the factor depends on the length of the run

    def __init__(self, total_steps: int) -> None:
        if total_steps < 1:
            raise ValueError(f"a schedule needs at least one step, got {total_steps}")
        self.total_steps = total_steps

    def factor(self, step: int) -> float:
        """The factor on the lr at `step`, the number of updates done so far."""
        return 1.0

    def observe(self, gain: float) -> None:
        """Update from a validation score; higher is better."""

    def apply(self, optimizer: Optimizer, step: int) -> None:
        """Set the lr of every parameter group for the update after `step`."""
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.factor(step)

    def state_dict(self) -> dict[str, Any]:
        """What `factor` depends on besides the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""


class Constant(Schedule):
    """The optimizer's lr at every step."""


class _WarmUp(Schedule):
    """Linear warm-up, then the decay of the subclass.

    warmup_steps: number of warm-up updates, in which the lr rises to the optimizer's
    warmup_ratio: warm-up as a fraction of the run's updates, rounded up as in Hugging Face; null: warmup_steps decides

    The n-th update has n / warmup_steps of the lr, so that the first one moves the weights. Hugging Face's schedules are one
    update behind: theirs gives (n - 1) / warmup_steps, 0 for the first. After the warm-up both are the same.
    """

    has_length = True
    min_warmup_steps = 0

    def __init__(self, total_steps: int, *, warmup_steps: int = 0, warmup_ratio: float | None = None) -> None:
        super().__init__(total_steps)
        if warmup_ratio is not None:
            if warmup_steps:
                raise ValueError(
                    f"warmup_ratio cannot be combined with warmup_steps, got {warmup_ratio} and {warmup_steps}"
                )
            if not 0 <= warmup_ratio <= 1:
                raise ValueError(f"warmup_ratio must be between 0 and 1, got {warmup_ratio}")
            warmup_steps = math.ceil(warmup_ratio * total_steps)
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
        if warmup_steps < self.min_warmup_steps:
            raise ValueError(f"warmup_steps must be at least {self.min_warmup_steps}, or warmup_ratio positive")
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
    """Linear warm-up, then linear decay to zero.

    Hugging Face's get_linear_schedule_with_warmup, warmed up one update ahead.
    """

    def decay(self, progress: float) -> float:
        return max(0.0, 1.0 - progress)


class Cosine(_WarmUp):
    """Linear warm-up, then cosine decay to zero (Loshchilov and Hutter 2017, eq. 5, one cycle).

    Hugging Face's get_cosine_schedule_with_warmup, warmed up one update ahead; it stays at zero after the last step.
    """

    def decay(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class InverseSqrt(_WarmUp):
    """Linear warm-up, then sqrt(warmup_steps / n) for the n-th update (Vaswani et al. 2017, section 5.3).

    The paper's rate over its peak, hidden_size^-0.5 warmup_steps^-0.5: the optimizer's lr is that peak. It needs a warm-up, and
    it never ends: the length of the run matters only for `warmup_ratio`.
    """

    min_warmup_steps = 1

    def factor(self, step: int) -> float:
        return min((step + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (step + 1)))


class Noam(InverseSqrt):
    """The inverse square root as in Vaswani et al. 2017, eq. 3: hidden_size^-0.5 min(n^-0.5, n warmup_steps^-1.5).

    hidden_size: the model's hidden size (d_model in the paper)
    warmup_steps: number of warm-up updates, in which the lr rises

    The optimizer's lr is a factor on it, 1 in the paper.
    """

    def __init__(self, total_steps: int, *, hidden_size: int = 512, warmup_steps: int = 4000) -> None:
        super().__init__(total_steps, warmup_steps=warmup_steps)
        if hidden_size < 1:
            raise ValueError(f"hidden_size must be at least 1, got {hidden_size}")
        self.peak = (hidden_size * warmup_steps) ** -0.5

    def factor(self, step: int) -> float:
        return self.peak * super().factor(step)


class OneCycle(Schedule):
    """One-cycle schedule: cosine rise from start_factor in warmup_ratio of the steps, then cosine decay to final_factor.

    warmup_ratio: fraction of the run's updates in which the lr rises
    start_factor: factor on the optimizer's lr at the first update
    final_factor: factor on the optimizer's lr at the last update

    The super-convergence of Smith and Topin 2018 with the numbers of torch.optim.lr_scheduler.OneCycleLR, whose div_factor is
    1 / start_factor and whose final_div_factor is start_factor / final_factor. The momentum is not changed.
    """

    has_length = True

    def __init__(
        self,
        total_steps: int,
        *,
        warmup_ratio: float = 0.3,
        start_factor: float = 0.04,
        final_factor: float = 4e-6,
    ) -> None:
        super().__init__(total_steps)
        if not 0 <= warmup_ratio < 1:
            raise ValueError(f"warmup_ratio must be in [0, 1), got {warmup_ratio}")
        for name, factor in {"start_factor": start_factor, "final_factor": final_factor}.items():
            if not 0 <= factor <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {factor}")
        self.start_factor, self.final_factor = start_factor, final_factor
        self.peak = warmup_ratio * total_steps - 1  # the step with the peak lr, as in torch; rarely an integer

    def factor(self, step: int) -> float:
        if step < self.peak:
            return _half_cosine(self.start_factor, 1.0, step / self.peak)
        return _half_cosine(1.0, self.final_factor, min(1.0, (step - self.peak) / (self.total_steps - 1 - self.peak)))


def _half_cosine(start: float, end: float, progress: float) -> float:
    """Cosine interpolation from start to end; progress runs from 0 to 1."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


class ReduceOnPlateau(Schedule):
    """Lowers the lr whenever the monitored score has not improved for some validations.

    decay: factor on the lr at each reduction
    patience: number of validations without a better score to tolerate before lowering the lr
    min_factor: lower bound of the lr, as a fraction of the optimizer's
    """

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
    "inverse_sqrt": InverseSqrt,
    "noam": Noam,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
}
