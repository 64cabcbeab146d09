"""One evaluation, in training and after it: the loss, the metrics and the predictions of every example."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from datasets.batches.ahead import made_ahead
from datasets.batches.examples import Batch
from utils.machine.progress_bar import StepBar
from utils.metrics.base import LossMeter, Metrics

if TYPE_CHECKING:
    from agents.base import BaseAgent


@torch.no_grad()
def evaluate(
    agent: "BaseAgent", batches: Iterable[Batch], metrics: Metrics, answers: list[tuple[int, Any]] | None = None
) -> dict[str, float]:
    """Loss and metrics over all processes, each of which has its part of the batches.

    answers: gets (row, its entry of `agent.predictions`), of all processes in the first one.
    """
    losses = LossMeter()
    vectors = None if answers is None or agent.watch is None else agent.watch.vectors
    agent.model.eval()
    for batch in batches:
        on_device = batch.to(agent.device)
        terms, outputs = agent.compute_loss(on_device)
        if not batch.is_filler:
            losses.update(terms, agent.count(batch))
            metrics.update(outputs, on_device)
            if vectors is not None:
                vectors.keep(batch.rows)
            if answers is not None and (found := agent.predictions(on_device, outputs)):
                answers += zip(batch.rows.tolist(), found, strict=True)
    metrics.counts = agent.worker.summed(metrics.counts)
    if answers is not None:
        answers[:] = [answer for own in agent.worker.gathered_by_first(answers) for answer in own]
    return agent.summarize(losses.over(agent.worker).compute() | metrics.compute())


def split_batches(agent: "BaseAgent", split: str) -> Iterator[Batch]:
    """The batches of a split, up to the one after which a signal is there; a line a minute tells how many texts are done."""
    loader, done = agent.data.loaders[split], 0
    bar = StepBar(-(-len(loader) // agent.worker.size), f"evaluating {split}", "texts")
    for batch in made_ahead(loader.eval_batches(), is_on=agent.device.type == "cuda"):
        yield batch
        done += 0 if batch.is_filler else len(batch.rows)
        bar.tell(done)
        if agent.signal():
            return
