"""What TensorBoard shows of a run besides its curves, as far as the config asks for it. Nothing here changes what is learnt."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.running.data import Data
from agents.watching.vectors import Vectors
from utils.distributed.fsdp import whole
from utils.distributed.worker import Worker
from utils.machine.profiling import TRACE, StepProfile
from utils.runs.run_log import RunLog
from utils.training.run_state import RunState
from utils.training.settings import Interval, TrainSettings
from utils.training.tracing import TracingError, write_graph

logger = logging.getLogger("glassbox")
LARGEST = (
    1e19  # the buckets of SummaryWriter.add_histogram end above; a skipped step of float16 may have infinite gradients
)


@dataclass(frozen=True, kw_only=True)
class TensorBoardSettings:
    """What TensorBoard shows besides curves, tables and images; none of it changes what is learnt.

    histograms: steps or epochs between two histograms of all weights and gradients, such as '200 steps' or '1 epoch'; null: none
    graph: the graph of the model, traced with a batch of the first step of each start
    profile: number of steps to trace with torch.profiler, after the first 5 of a start, in profile.pt.trace.json; null: none
    projector: at the end, vectors of test texts (the head's input) and word embeddings, at most 10,000 each, for its Projector
    """

    histograms: str | None = None
    graph: bool = False
    profile: int | None = None
    projector: bool = False

    def __post_init__(self) -> None:
        if self.profile is not None and self.profile < 1:
            raise ValueError(f"profile must be at least 1, got {self.profile}")
        try:
            _ = self.histogram_interval
        except ValueError as error:
            raise ValueError(f"histograms {error}") from None

    @property
    def histogram_interval(self) -> Interval | None:
        return None if self.histograms is None else Interval.parse(self.histograms)


class Watch:
    """Writes what the section `tensorboard` asks for.

    Every process has one, as with FSDP all take part in making weights whole; the first one writes.
    """

    def __init__(
        self,
        options: TensorBoardSettings,
        settings: TrainSettings,
        model: nn.Module,
        data: Data,
        log: RunLog,
        worker: Worker,
    ) -> None:
        self.settings, self.model, self.log, self.worker = settings, model, log, worker
        self.histograms = options.histogram_interval
        self.is_graph_due = options.graph and worker.is_first
        self.profile = StepProfile(options.profile) if options.profile is not None and worker.is_first else None
        self.vectors = Vectors(model, data, log, worker) if options.projector else None
        if self.profile is not None:
            log.closing.callback(self.profile.close)

    def after_step(self, state: RunState, batch: Any) -> None:
        """Write what is due after a step. state: with the step counted; batch: one of its micro-batches, on the host."""
        if self.histograms is not None and self.histograms.is_due(state):
            self._write_histograms(state.step)
        if self.is_graph_due:
            self.is_graph_due = False
            self._write_graph(batch)
        if (profile := self.profile) is not None:
            path, is_last = self.log.folder / TRACE, self.settings.is_done(state)
            self.log.attempt(TRACE, lambda: profile.after_step(path, is_last=is_last))

    def after_test(self) -> None:
        """Collect the vectors, on all ranks; the model has the tested weights."""
        if self.vectors is not None:
            self.vectors.gather()

    def _write_histograms(self, step: int) -> None:
        """Of the weights after the update, and of the gradients that it used, clipped if they were."""
        if not (self.worker.is_first or self.worker.is_sharded):
            return
        for name, parameter in self.model.named_parameters():
            for kind, tensor in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                if tensor is not None:
                    self._add_histogram(f"{kind}/{name}", whole(tensor), step)

    def _add_histogram(self, tag: str, tensor: Tensor, step: int) -> None:
        if self.worker.is_first and len(values := plain_values(tensor)):
            self.log.to_tensorboard(lambda writer: writer.add_histogram(tag, values, step))

    def _write_graph(self, batch: Any) -> None:
        device: torch.device = next(self.model.parameters()).device
        try:
            if self.worker.is_sharded:
                raise TracingError("with distributed.strategy: fsdp no process has the whole of it")
            self.log.to_tensorboard(lambda writer: write_graph(writer, self.model, batch.to(device)))
        except TracingError as error:
            logger.warning("warning: tensorboard.graph: the model cannot be traced (%s); continuing without it", error)


def plain_values(tensor: Tensor) -> np.ndarray:
    """(N,) the values of a tensor that a histogram can hold; of a sparse gradient those of the rows that the batch has used."""
    values = (tensor.coalesce().values() if tensor.is_sparse else tensor).float().cpu().flatten()
    return values[values.abs() < LARGEST].numpy()
