"""State of a run: the counters that a checkpoint saves besides weights, optimizer and random state."""

import math
from dataclasses import asdict, dataclass
from typing import Any

NEW = ("best_loss", "highest_gain")


@dataclass
class RunState:
    """The counters of a run. `epoch` and `step` count finished ones; `batch` counts the finished steps of the current epoch."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_gain: float = -math.inf  # the monitored value of the best weights, signed so that larger is better
    best_step: int = 0
    num_bad: int = 0  # validations since the highest gain
    validated_step: int = -1  # the last step that was validated
    is_stopped_early: bool = False
    seconds: float = 0.0  # in training steps, summed over resumes
    num_texts: int = 0
    num_tokens: int = 0
    best_loss: float = math.inf  # of the best weights
    highest_gain: float = -math.inf  # of any weights

    def observe(self, gain: float, loss: float = math.inf, noise: float = 0.0) -> bool:
        """Record a validation at this step; -> whether its weights are now the best.

        Gains within `noise` of the highest are ties, broken by the smallest loss, then the higher gain, then the first.
        Patience counts the validations since the highest gain, whichever weights are the best.
        """
        self.num_bad = 0 if gain > self.highest_gain else self.num_bad + 1
        self.highest_gain = max(gain, self.highest_gain)
        lowest = self.highest_gain - noise
        loss = math.inf if math.isnan(loss) else loss
        is_best = gain >= lowest and (self.best_gain < lowest or (loss, -gain) < (self.best_loss, -self.best_gain))
        if is_best:
            self.best_gain, self.best_loss, self.best_step = gain, loss, self.step
        self.validated_step = self.step
        return is_best

    def forget_best(self) -> None:
        """Restart the search for the best weights, with a validation of this step."""
        self.best_gain = self.highest_gain = -math.inf
        self.best_loss, self.best_step, self.num_bad, self.validated_step = math.inf, 0, 0, -1

    def count_step(self, seconds: float, num_texts: int, num_tokens: int) -> None:
        """Count an optimizer step."""
        self.step, self.batch = self.step + 1, self.batch + 1
        self.seconds += seconds
        self.num_texts += num_texts
        self.num_tokens += num_tokens

    def end_epoch(self) -> None:
        """Count an epoch whose batches are all done."""
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values; those unknown to earlier versions are left out before the first validation."""
        return {name: value for name, value in asdict(self).items() if name not in NEW or math.isfinite(value)}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore the counters of `state_dict`, from this or an earlier version. Raises TypeError for other types."""
        values = {"highest_gain": values["best_gain"], **values}
        if wrong := [name for name, value in values.items() if type(value) is not type(getattr(self, name))]:
            raise TypeError(f"{wrong[0]} is a {type(values[wrong[0]]).__name__}")
        self.__init__(**values)  # type: ignore[misc]
