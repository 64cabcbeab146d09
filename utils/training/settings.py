"""The section `train`: how long, in which batches, and when to validate, save and log."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from utils.errors import ConfigError
from utils.training.run_state import RunState


class Interval(NamedTuple):
    """Interval of steps or epochs."""

    every: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """ "200 steps" or "1 epoch"; raises ValueError for anything else."""
        match = re.fullmatch(r"([1-9][0-9]*) (step|epoch)s?", text)
        if match is None:
            raise ValueError(f"must be such as '200 steps' or '1 epoch', got {text!r}")
        return cls(int(match[1]), match[2])

    def is_due(self, state: RunState) -> bool:
        """Whether the step that `state` has just finished completes the interval."""
        if self.unit == "step":
            return state.step > 0 and state.step % self.every == 0
        return state.epoch > 0 and state.batch == 0 and state.epoch % self.every == 0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How long and in which batches a run trains, and when it is validated, saved and logged.

    num_epochs: number of passes over the training texts
    num_steps: length of the run in optimizer steps instead of epochs; null: num_epochs decides
    batch_size: number of texts per optimizer step, over all accumulation steps and ranks
    batch_tokens: batch by tokens instead: maximum of the longest text times the number of texts, over all ranks; null: batch_size
    accumulation_steps: gradient accumulation: number of micro-batches per batch, for less memory; the update is the same
    max_grad_norm: clip the gradient to this norm; null: no clipping
    precision: precision of the forward and backward pass in training; mixed: 16 bits, faster on many GPUs; auto: mixed if faster
    monitor: the metric that decides which weights are best, + if more is better, - if less; null: the agent's default
    patience: early stopping after this many validations in a row without a new best value of monitor; null: never
    validate_every: steps or epochs between two validations, such as '200 steps' or '1 epoch'; the last step is validated, too
    save_every: steps or epochs between two checkpoints; a validation saves one, too
    log_every: steps between two records of training metrics in metrics.jsonl and TensorBoard
    keep: number of newest checkpoints to keep, besides the best one
    """

    num_epochs: int = 10
    num_steps: int | None = None
    batch_size: int = 64
    batch_tokens: int | None = None
    accumulation_steps: int = 1
    max_grad_norm: float | None = None
    precision: Literal["float32", "mixed", "auto"] = "float32"
    monitor: str | None = None
    patience: int | None = None
    validate_every: str = "1 epoch"
    save_every: str = "200 steps"
    log_every: int = 10
    keep: int = 2

    def __post_init__(self) -> None:
        counts = "num_epochs num_steps batch_size batch_tokens accumulation_steps patience log_every keep"
        for name in counts.split():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm must be positive, or null for none, got {self.max_grad_norm}")
        if self.monitor is not None and not re.fullmatch(r"[+-]\w+", self.monitor):
            raise ValueError(
                f"monitor must be a metric with its direction, such as +accuracy or -loss, got {self.monitor!r}"
            )
        for name in ("validate_every", "save_every"):
            try:
                Interval.parse(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None

    @property
    def metric(self) -> str:
        """The monitored metric without its direction."""
        return (self.monitor or "-loss")[1:]

    def gain(self, metrics: dict[str, float]) -> float:
        """The monitored value, signed so that larger is better. Raises ConfigError if it is missing."""
        if self.metric not in metrics:
            raise ConfigError(f"train.monitor: there is no metric {self.metric!r}; known: {', '.join(metrics)}")
        return metrics[self.metric] * (1.0 if (self.monitor or "-loss")[0] == "+" else -1.0)

    def is_validation_due(self, state: RunState) -> bool:
        """Whether to validate after the step just done; always after the last one."""
        return state.step > 0 and (Interval.parse(self.validate_every).is_due(state) or self.is_done(state))

    def is_save_due(self, state: RunState) -> bool:
        """Whether to save a checkpoint after the step just done."""
        return Interval.parse(self.save_every).is_due(state)

    def is_done(self, state: RunState) -> bool:
        """Whether a run has done all its steps, or has exhausted this start's patience (a longer one continues)."""
        return self._has_all_steps(state) or self.is_stopped_early(state)

    def is_stopped_early(self, state: RunState) -> bool:
        """Whether early stopping has ended a run before its last step."""
        is_out = self.patience is not None and state.num_bad >= self.patience
        return is_out and not self._has_all_steps(state)

    def _has_all_steps(self, state: RunState) -> bool:
        return state.epoch >= self.num_epochs if self.num_steps is None else state.step >= self.num_steps
