"""What every metric is: counts that are summable over batches and processes, divided once at the end."""

from typing import Any, Protocol

import torch
from torch import Tensor

from utils.distributed.worker import Worker


class Metrics(Protocol):
    """What an agent's `new_metrics` gives: counts of outputs against what the batches hold."""

    counts: Tensor  # summable over processes, kept where the outputs are; saved in checkpoints

    def update(self, outputs: Any, batch: Any) -> None:
        """Count one batch on the device, of the agent's own kind."""

    def compute(self) -> dict[str, float]:
        """The scalars that are logged and may be monitored."""

    def report(self) -> dict[str, Any]:
        """All there is to say, as plain values for JSON."""


class CombinedMetrics:
    """Several metrics as one, with all their counts in one tensor."""

    def __init__(self, parts: list[Metrics]) -> None:
        self.parts = parts

    @property
    def counts(self) -> Tensor:
        """A copy; assign to change it."""
        return torch.cat([part.counts for part in self.parts])

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        for part, own in zip(self.parts, counts.split([len(part.counts) for part in self.parts]), strict=True):
            part.counts = own

    def update(self, outputs: Any, batch: Any) -> None:
        for part in self.parts:
            part.update(outputs, batch)

    def compute(self) -> dict[str, float]:
        return {name: value for part in self.parts for name, value in part.compute().items()}

    def report(self) -> dict[str, Any]:
        reports = {name: value for part in self.parts for name, value in part.report().items()}
        return self.compute() | reports  # the scalars first


class LossMeter:
    """Sums of the loss terms and of what they are divided by; read only in `compute`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}

    def update(self, terms: dict[str, Tensor], counts: dict[str, float]) -> None:
        """Add a batch's term sums, () each, and their counts; nothing waits for the device."""
        for name, term in terms.items():
            wide = torch.float32 if term.device.type == "mps" else torch.float64
            self.sums[name] = self.sums.get(name, torch.zeros((), dtype=wide, device=term.device)) + term.detach()
            self.counts[name] = self.counts.get(name, 0.0) + counts[name]

    def compute(self) -> dict[str, float]:
        """The mean of each term and, where there are several, their total as "loss"."""
        means = {name: float(total) / max(self.counts[name], 1e-12) for name, total in self.sums.items()}
        return means if list(means) == ["loss"] else {"loss": sum(means.values()), **means}

    def over(self, worker: Worker) -> "LossMeter":
        """The sums of all processes together."""
        total = LossMeter()
        for state in worker.gathered(self.state_dict()):
            total.add(state, torch.device("cpu"))
        return total

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts as plain values."""
        return {"sums": {name: total.cpu() for name, total in self.sums.items()}, "counts": dict(self.counts)}

    def add(self, state: dict[str, Any], device: torch.device) -> None:
        """Add saved sums."""
        self.update({name: total.to(device) for name, total in state["sums"].items()}, state["counts"])
