"""What the loop costs beside forward, backward and optimizer, in one epoch of a config: python benchmarks/loop_overhead.py [CONFIG]

Measured inside one process, by timers around the model with its loss, the backward pass and the optimizer's step: the rest is
making batches, counting, the gradient's norm and clipping, logging, saving. Validation is left out.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
import torch

from agents import build
from datasets.batches.loader import Loader

REPEATS = 3


class Timers:
    """Seconds spent in each of the functions that are wrapped; one that is called inside another counts in both."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

        return timed


def epoch(config: str) -> tuple[float, dict[str, float]]:
    """(seconds of an epoch, seconds by part)."""
    overrides = {"name": "bench-loop", "train.num_epochs": 1, "train.validate_every": "1000000 steps"}
    agent, timers = build(ROOT / config, overrides, is_fresh=True), Timers()
    agent.load_checkpoint()
    agent.compute_loss = timers.wrap("forward", agent.compute_loss)  # type: ignore[method-assign]
    agent.optimizer.step = timers.wrap("optimizer", agent.optimizer.step)  # type: ignore[method-assign]
    agent.updater.apply = timers.wrap("updater, whole", agent.updater.apply)  # type: ignore[method-assign]
    agent.save_checkpoint = timers.wrap("saving", agent.save_checkpoint)  # type: ignore[method-assign]
    backward, collate = torch.Tensor.backward, Loader._collate
    torch.Tensor.backward = timers.wrap("backward", backward)  # type: ignore[method-assign]
    Loader._collate = timers.wrap("batches", collate)  # type: ignore[method-assign]
    started = time.perf_counter()
    try:
        agent.train_one_epoch()
    finally:
        torch.Tensor.backward, Loader._collate = backward, collate  # type: ignore[method-assign]
        agent.experiment.close()
    return time.perf_counter() - started, timers.seconds


def main(config: str) -> None:
    """Measure, and print shares of the epoch."""
    totals, shares = [], []
    for _ in range(REPEATS):
        total, seconds = epoch(config)
        seconds["rest"] = total - seconds["forward"] - seconds["backward"] - seconds["optimizer"]
        seconds["norm, clipping, check"] = seconds.pop("updater, whole") - seconds["optimizer"]
        totals.append(total)
        shares.append({name: value / total for name, value in seconds.items()})
    print(f"{config}: an epoch of {statistics.median(totals):.2f} s")
    for name in shares[0]:
        print(f"  {name}: {statistics.median(share.get(name, 0.0) for share in shares):.2%}")
    print("rest: must be at most 3%; batches, norm and saving are parts of it")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "configs/bilstm.yaml")
