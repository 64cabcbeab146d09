"""Selection of the best weights by validation, with ties within noise."""

import math

from utils.errors import NonFiniteError
from utils.metrics.label_counts import PROPORTIONS
from utils.training.run_state import RunState
from utils.training.settings import TrainSettings


def judge(values: dict[str, float], state: RunState, settings: TrainSettings, num_texts: int) -> tuple[float, bool]:
    """Record a validation of num_texts texts; -> (the signed monitored value, whether the weights are now the best)."""
    gain = settings.gain(values)
    if not math.isfinite(gain):
        value = "not a number" if math.isnan(gain) else "infinite"
        raise NonFiniteError(f"step {state.step}: valid {settings.metric} is {value}; lower optimizer.lr")
    noise = noise_of(settings.metric, max(gain, state.highest_gain), num_texts)
    return gain, state.observe(gain, values["loss"], noise)


def describe(state: RunState, settings: TrainSettings, is_best: bool) -> str:
    """Note on a validation, for the end of its log line; empty if it changes nothing."""
    notes = ["best weights" + ": a tie, decided by the loss" * (state.num_bad > 0)] * is_best
    if settings.patience is not None and state.num_bad:
        notes.append(f"patience used: {state.num_bad} of {settings.patience}")
    return f" ({'; '.join(notes)})" if notes else ""


def noise_of(name: str, value: float, num_texts: int) -> float:
    """Half the standard error of a metric that is a fraction of num_texts texts; 0 for any other, such as a loss.

    A smaller difference does not show which of two models is better: sqrt(p (1 - p) / n) / 2, 0.0075 at 0.95 of 210 texts.
    """
    share = min(abs(value), 1.0)  # less of it may be better: then the gain is its negative
    return 0.5 * math.sqrt(share * (1.0 - share) / num_texts) if name in PROPORTIONS else 0.0
