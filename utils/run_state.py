"""Where a run stands: every number that must survive a kill besides weights, optimizer and random state."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class RunState:
    """The counters of a run. `epoch` and `step` count what is finished; `batch` counts the steps done of the epoch under way."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_gain: float = -math.inf  # the monitored value with its sign, so that larger is better
    best_step: int = 0
    num_bad: int = 0  # validations since the best
    validated_step: int = -1  # the last step that was validated
    is_stopped_early: bool = False
    seconds: float = 0.0  # in training steps, summed over resumes
    num_texts: int = 0
    num_tokens: int = 0

    def observe(self, gain: float, patience: int | None) -> bool:
        """Take note of a validation at this step; -> whether it is the best so far."""
        is_best = gain > self.best_gain
        if is_best:
            self.best_gain, self.best_step, self.num_bad = gain, self.step, 0
        else:
            self.num_bad += 1
        self.validated_step = self.step
        self.is_stopped_early = patience is not None and self.num_bad >= patience
        return is_best

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
        """Plain values."""
        return asdict(self)

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take up the counters that `state_dict` gave."""
        self.__init__(**values)  # type: ignore[misc]
