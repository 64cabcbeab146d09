"""Training metrics: of the current epoch, and since the last logged step."""

from typing import Any

import torch
from torch import Tensor

from utils.distributed.worker import Worker
from utils.metrics.base import LossMeter, Metrics

TEXTS, TOKENS = ("size", "texts"), ("size", "tokens")  # not names of loss terms


def sizes_of(batches: list[Any]) -> dict[Any, float]:
    """Number of texts and tokens of a step on this rank, without fillers."""
    own = [batch for batch in batches if not batch.is_filler]
    return {TEXTS: float(sum(len(b.rows) for b in own)), TOKENS: float(sum(b.num_tokens for b in own))}


class TrainMeter:
    """Losses and metrics of an epoch, and losses and speed since the last logged step. Nothing here waits for the device."""

    def __init__(self, metrics: Metrics, worker: Worker | None = None) -> None:
        """worker: this rank, if several share each epoch."""
        self.metrics, self.worker = metrics, worker or Worker()
        self.epoch, self.recent = LossMeter(), LossMeter()
        self.seconds, self.num_texts, self.num_tokens = 0.0, 0, 0
        self.note = ""  # loss and speed at the last logged step, in words

    @torch.no_grad()
    def update(self, terms: dict[str, Tensor], counts: dict[str, float], outputs: Any, batch: Any) -> None:
        """Add a micro-batch on the device: the sums of its loss terms, their counts, its outputs."""
        self.metrics.update(outputs, batch)
        self.epoch.update(terms, counts)
        self.recent.update(terms, counts)

    def count_step(self, seconds: float, num_texts: int, num_tokens: int) -> None:
        """Add one optimizer step's time and size."""
        self.seconds += seconds
        self.num_texts += num_texts
        self.num_tokens += num_tokens

    def take_recent(self) -> dict[str, float]:
        """Loss, texts/s and tokens/s since the last call."""
        seconds = max(self.seconds, 1e-9)
        speed = {"texts_per_second": self.num_texts / seconds, "tokens_per_second": self.num_tokens / seconds}
        values = self.recent.over(self.worker).compute() | speed
        self.note = "loss {loss:.4f}  {texts_per_second:,.0f} texts/s  {tokens_per_second:,.0f} tokens/s".format(
            **values
        )
        self.recent, self.seconds, self.num_texts, self.num_tokens = LossMeter(), 0.0, 0, 0
        return values

    def end_epoch(self, metrics: Metrics) -> dict[str, float]:
        """Loss and metrics of the epoch, each text as it was when trained on; then start over with the given empty metrics."""
        self.metrics.counts = self.worker.summed(self.metrics.counts)
        values = self.epoch.over(self.worker).compute() | self.metrics.compute()
        self.metrics, self.epoch = metrics, LossMeter()
        return values

    def state_dict(self) -> dict[str, Any]:
        """All sums of this rank that an exact resume needs; speeds start over."""
        return {
            "counts": self.metrics.counts.cpu(),
            "epoch": self.epoch.state_dict(),
            "recent": self.recent.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Add saved sums: of this rank, or of ranks that no longer exist."""
        device = self.metrics.counts.device
        self.metrics.counts += state["counts"].to(device)
        self.epoch.add(state["epoch"], device)
        self.recent.add(state["recent"], device)
