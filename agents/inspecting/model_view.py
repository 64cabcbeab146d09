"""A model's modules, with the shape of what each makes of one real batch and the line that defines it."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.base import BaseAgent

ROOT = Path(__file__).parents[2]
LAYER = re.compile(r"(?P<stack>.*?layers)\.(?P<number>\d+)")  # a part of one of several equal layers


class Part(NamedTuple):
    """name: dotted; kind: its class; place: FILE:LINE of ours, or torch.nn; shape: of its output, None where it was not called;
    num_parameters: of it and all in it."""

    name: str
    kind: str
    place: str
    shape: tuple[int, ...] | None
    num_parameters: int


@torch.no_grad()
def describe_model(agent: BaseAgent, batch: Any) -> list[Part]:
    """The modules in the order of their definition. batch: on the host."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        found = output[0] if isinstance(output, tuple) else output
        if isinstance(found, Tensor):
            shapes[module] = tuple(found.shape)

    hooks = [module.register_forward_hook(note) for module in agent.model.modules()]
    agent.model.eval()
    agent.compute_loss(batch.to(agent.device))
    agent.model.train()
    for hook in hooks:
        hook.remove()
    named = list(agent.model.named_modules())
    return [
        _part(name, module, shapes.get(module))
        for name, module in named
        if module in shapes or (next(module.parameters(), None) is not None and not isinstance(module, nn.ModuleList))
    ]


def _part(name: str, module: nn.Module, shape: tuple[int, ...] | None) -> Part:
    kind = type(module)
    if kind.__module__.startswith("torch."):
        place = "torch.nn"
    else:
        place = f"{Path(inspect.getfile(kind)).relative_to(ROOT)}:{inspect.getsourcelines(kind)[1]}"
    return Part(name, kind.__name__, place, shape, sum(parameter.numel() for parameter in module.parameters()))


def folded(parts: list[Part]) -> Iterator[tuple[Part, int]]:
    """The parts, of equal layers the first alone, and how many more are like it."""
    layers = [LAYER.match(part.name) for part in parts]
    last = {found["stack"]: int(found["number"]) for found in layers if found is not None}
    for part, found in zip(parts, layers, strict=True):
        if found is None:
            yield part, 0
        elif found["number"] == "0":
            yield part, last[found["stack"]] if part.name == found[0] else 0
