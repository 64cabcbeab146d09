"""What a run will cost, from some of its steps: time, memory, operations."""

import time
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from agents.base import BaseAgent
from agents.inspecting.flops import count_flops
from agents.inspecting.rehearsal import timed_step
from datasets.batches.examples import EVALUATION, Batch
from datasets.batches.loader import Loader
from datasets.batches.order import ordered_batches
from utils.machine.environment import peak_memory_bytes
from utils.training.settings import Interval

NUM_STEPS, NUM_BATCHES = 10, 5  # that are timed: of training, and of each evaluation


class Costs(NamedTuple):
    """train_seconds: of all steps; evaluation_seconds: of all validations and the test; memory_bytes: of this process, so far;
    device_bytes: of the GPU, None without one; flops_per_token: of a training step, forward and backward."""

    num_steps: int
    train_seconds: float
    tokens_per_second: float
    num_validations: int
    evaluation_seconds: float
    has_test: bool
    memory_bytes: int
    device_bytes: int | None
    flops_per_token: float


def estimate(agent: BaseAgent) -> Costs:
    """Time steps on batches of all sizes, the largest first. Changes the agent's weights. Raises NonFiniteError."""
    loader, settings = agent.data.loaders["train"], agent.settings
    batches, lengths = loader.batches(0), loader.examples.lengths(0)
    sizes = np.array([lengths[rows].sum() for rows in batches])
    order = [int(sizes.argmax()), *sampled(sizes, NUM_STEPS + 1).tolist()]
    agent.begin_epoch(0)
    steps = [timed_step(agent, partial(loader.micro_batches, batches[i], lengths, 0, 0)) for i in order]
    steps = steps[2:]  # the first of a process are slow, and the largest would count for more than it is
    seconds_per_token = sum(step.seconds for step in steps) / max(1, sum(step.num_tokens for step in steps))
    tokens_per_step = float(np.mean([step.num_tokens for step in steps]))
    num_steps = loader.total_steps(settings.num_epochs, settings.num_steps)
    every = (settings.validate_every, num_steps, loader.num_steps())
    num_validations = validations(*every) if "valid" in agent.data.loaders else 0
    spent = {
        split: evaluation(agent, agent.data.loaders[split])
        for split in ("valid", "test")
        if split in agent.data.loaders
    }
    return Costs(
        num_steps=num_steps,
        train_seconds=seconds_per_token * tokens_per_step * num_steps,
        tokens_per_second=1 / seconds_per_token,
        num_validations=num_validations,
        evaluation_seconds=spent.get("valid", 0.0) * (num_validations + 1) + spent.get("test", 0.0),
        has_test="test" in spent,
        memory_bytes=peak_memory_bytes(),
        device_bytes=torch.cuda.max_memory_allocated() if agent.device.type == "cuda" else None,
        flops_per_token=operations(agent, loader.micro_batches(batches[order[-1]], lengths, 0, 0)[0]),
    )


def sampled(sizes: np.ndarray, count: int) -> np.ndarray:
    """(count,) places of batches whose sizes stand for all: the middle of each of `count` equal parts of the sorted ones."""
    order = np.argsort(sizes, kind="stable")
    return order[((np.arange(count) + 0.5) / count * len(order)).astype(int)]


def validations(every: str, num_steps: int, steps_per_epoch: int) -> int:
    """How often a run validates; the last step always does."""
    interval = Interval.parse(every)
    steps = interval.every * (1 if interval.unit == "step" else steps_per_epoch)
    return -(-num_steps // steps)


@torch.no_grad()
def evaluation(agent: BaseAgent, loader: Loader) -> float:
    """Estimated seconds of one evaluation, from batches of all sizes."""
    lengths = loader.examples.lengths(EVALUATION)
    batches = ordered_batches(lengths, batch_size=loader.batch_size, batch_tokens=loader.batch_tokens)
    sizes = np.array([lengths[rows].sum() for rows in batches])
    chosen = sampled(sizes, min(NUM_BATCHES, len(sizes)))
    agent.model.eval()
    started = time.perf_counter()
    for place in chosen:
        terms, _ = agent.compute_loss(loader.examples.collate(batches[place], EVALUATION).to(agent.device))
        [float(term) for term in terms.values()]  # waits for the device
    seconds = time.perf_counter() - started
    agent.model.train()
    return seconds * float(sizes.sum()) / max(1, float(sizes[chosen].sum()))


def operations(agent: BaseAgent, batch: Batch) -> float:
    """Operations of a training step for each of a batch's tokens."""

    def step() -> None:
        terms, _ = agent.compute_loss(batch.to(agent.device))
        torch.stack(list(terms.values())).sum().backward()

    flops = count_flops(step)
    agent.optimizer.zero_grad()
    return flops / max(1, batch.num_tokens)
