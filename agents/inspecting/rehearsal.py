"""A run that leaves nothing behind: its first steps, by the loop's own code, in a folder that is removed afterwards."""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from agents.base import BaseAgent
from datasets.batches.examples import Batch
from utils.config.config import Config
from utils.machine.threads import choose_threads
from utils.runs.experiment import Experiment


class Step(NamedTuple):
    """One optimizer step. loss: mean over what it counts, before the update; seconds: of making the batch and of the update."""

    loss: float
    seconds: float
    num_texts: int
    num_tokens: int


@contextlib.contextmanager
def rehearsal(config: Config) -> Iterator[BaseAgent]:
    """The agent of a checked config, ready for its first step. Only the caches of its data stay."""
    with prepared(config) as agent:
        agent.load_checkpoint()
        yield agent


@contextlib.contextmanager
def prepared(config: Config) -> Iterator[BaseAgent]:
    """The same, before its schedule is made for the number of its steps; `load_checkpoint` makes it."""
    from agents import build_agent  # which imports all agents

    config.pop("tracker", None)  # which would show a run that never was
    if config.num_threads == "auto":
        config["num_threads"] = choose_threads(config.model)
    with tempfile.TemporaryDirectory(prefix="glassbox-") as folder:
        agent = build_agent(config, Experiment(Path(folder), None))
        try:
            yield agent
        finally:
            agent.log.close()


def train_steps(agent: BaseAgent, num_steps: int) -> Iterator[Step]:
    """Train, epoch after epoch, and yield each step when it is done. Raises NonFiniteError as the loop does."""
    loader = agent.data.loaders["train"]
    for epoch in itertools.count():
        agent.begin_epoch(epoch)
        batches = loader.train_batches(epoch, 0, agent.state.step)
        for _ in range(loader.num_steps(epoch)):
            yield timed_step(agent, lambda: next(batches))  # noqa: B023  called before the next epoch
            if agent.state.step == num_steps:
                return
        agent.state.end_epoch()


def timed_step(agent: BaseAgent, make: Callable[[], list[Batch]]) -> Step:
    """Train on the micro-batches that `make` makes."""
    started = time.perf_counter()
    agent.train_step(make())
    agent.updater.check()
    loss = agent.meter.take_recent()["loss"]  # reads the device, and so waits for it
    seconds = time.perf_counter() - started
    agent.state.count_step(seconds, *agent.sizes)
    return Step(loss, seconds, *agent.sizes)
