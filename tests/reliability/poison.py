"""Numbers that are not finite, put into a forked run; like faults.py, by wrapping its functions."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from faults import wrap


def poison(what: str, value: str, step: int) -> None:
    """At a step put "nan" or "inf" into the loss, a gradient, a weight, a word's vector or the learning rate."""
    {"loss": _loss, "gradient": _gradient, "weight": _weight, "vector": _vector, "lr": _lr}[what](float(value), step)


def _loss(value: float, step: int) -> None:
    def make(compute_loss: Callable[..., Any]) -> Callable[..., Any]:
        def call(agent: Any, batch: Any) -> Any:
            terms, outputs = compute_loss(agent, batch)
            if agent.model.training and agent.state.step + 1 == step:
                terms = {name: term * value for name, term in terms.items()}
            return terms, outputs

        return call

    wrap("agents.classification:ClassificationAgent.compute_loss", make)


def _before_step(step: int, do: Callable[[Any], None]) -> None:
    def make(train_step: Callable[..., Any]) -> Callable[..., Any]:
        def call(agent: Any, batches: list[Any]) -> Any:
            if agent.state.step + 1 == step:
                for batch in batches:
                    do((agent, batch))
            return train_step(agent, batches)

        return call

    wrap("agents.base:BaseAgent.train_step", make)


def _weight(value: float, step: int) -> None:
    _before_step(step, lambda at: at[0].model.head.layers[-1].weight.data[0, 0].fill_(value))


def _vector(value: float, step: int) -> None:
    def do(at: Any) -> None:
        agent, batch = at
        agent.model.encoders[0].embedding.weight.data[batch.fields[0]["input_ids"][0, 0]] = value

    _before_step(step, do)


def _gradient(value: float, step: int) -> None:
    seen = 0

    def make(apply: Callable[..., Any]) -> Callable[..., Any]:
        def call(updater: Any, *arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                updater.parameters["head.layers.0.weight"].grad[0, 0] = value
            return apply(updater, *arguments)

        return call

    wrap("utils.training.update:Updater.apply", make)


def _lr(value: float, step: int) -> None:
    def make(apply: Callable[..., Any]) -> Callable[..., Any]:
        def call(schedule: Any, optimizer: Any, done: int) -> None:
            apply(schedule, optimizer, done)
            if done + 1 == step:
                for group in optimizer.param_groups:
                    group["lr"] = value

        return call

    wrap("utils.optimizers.schedules:Schedule.apply", make)


def ignore_labels(step: int) -> None:
    """No text of a step counts: all its labels are -100."""
    _before_step(step, lambda at: at[1].columns["label"].fill_(-100))


def tell_updates(to: str) -> None:
    """Append to a file the step of every optimizer step, and whether all weights are finite after it."""

    def make(train_step: Callable[..., Any]) -> Callable[..., Any]:
        def call(agent: Any, batches: list[Any]) -> Any:
            before = [parameter.detach().clone() for parameter in agent.model.parameters()]
            try:
                return train_step(agent, batches)
            finally:
                pairs = zip(before, agent.model.parameters(), strict=True)
                is_changed = any(not torch.equal(old.nan_to_num(), new.nan_to_num()) for old, new in pairs)
                with Path(to).open("a") as file:
                    file.write(json.dumps([agent.state.step + 1, is_changed]) + "\n")

        return call

    wrap("agents.base:BaseAgent.train_step", make)


def other_facts(values: dict[str, Any]) -> None:
    """The run believes to be on another machine."""
    wrap("agents.assembled_task:environment_facts", lambda facts: lambda *arguments: facts(*arguments) | values)


def other_clock(seconds: float, rate: float) -> None:
    """The clock on the wall jumps by so many seconds and goes at another rate; 0: it stands."""
    true, begin = time.time, time.time()

    def at() -> float:
        return begin + seconds + rate * (true() - begin)

    wrap("time:time", lambda _: at)
    wrap("time:time_ns", lambda _: lambda: math.floor(at() * 1e9))
