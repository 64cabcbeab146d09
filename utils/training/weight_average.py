"""Moving average of the weights during training, evaluated and saved in place of the last step's weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from utils.distributed.fsdp import part_of


class WeightAverage:
    """An average of the trainable weights over the steps, to evaluate and save; training continues with the raw ones.

    decay: decay rate of the exponential moving average; smaller in the first steps
    last: average the last N snapshots of the weights instead, such as 10; null: the exponential moving average
    every: number of steps between two snapshots

    Polyak and Juditsky 1992 (https://doi.org/10.1137/0330046) average weights, Tarvainen and Valpola 2017
    (https://arxiv.org/abs/1703.01780, eq. 2) with a decay: after step t = 0, 1, ...

        average = d * average + (1 - d) * weights,   d = min(decay, (1 + t) / (10 + t)),

    so that the first, random weights are soon forgotten. The average begins with the weights after the first step; that of a
    parameter frozen then, with its value after its first trainable step. Buffers are not averaged.

    Vaswani et al. 2017, section 6.1, average the last checkpoints: here the weights after each `every` steps, the `last` of them.

    `applied` puts the averaged weights into the model. A checkpoint is saved within it, so that its model.safetensors holds the
    weights that are evaluated, and the state of this object the raw ones.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999, last: int | None = None, every: int = 1) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, got {decay}")
        if last is not None and last < 1:
            raise ValueError(f"last must be at least 1, got {last}")
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if every > 1 and last is None:
            raise ValueError(f"every goes with last; leave it out, or write every: 1, got {every}")
        if last is not None and decay != 0.999:
            raise ValueError(
                f"decay (of the exponential average) and last (of the plain one) exclude each other, got {decay} and {last}"
            )
        if any(getattr(module, "sparse", False) for module in model.modules()):
            raise ValueError(
                "the word embeddings have sparse gradients, and an average would update all their rows at every step; "
                "use an optimizer with dense ones, such as Adam, or leave the section out"
            )
        self.decay, self.last, self.every, self.step = decay, last, every, 0
        self.parameters = dict(model.named_parameters())
        self.other: dict[str, Tensor] = {}  # the averaged weights; within `applied`, and in a checkpoint, the raw ones
        self.kept: list[dict[str, Tensor]] = []  # of the last moments, the oldest first

    @torch.no_grad()
    def update(self) -> None:
        """Update the average after an optimizer step."""
        self.step += 1
        if self.last is not None:
            if self.step % self.every == 0:
                now = {name: p.detach().clone() for name, p in self.parameters.items() if p.requires_grad}
                self.kept = [*self.kept, now][-self.last :]
                self.other = {name: _mean([each[name] for each in self.kept if name in each]) for name in now}
            return
        for name, parameter in self.parameters.items():
            if parameter.requires_grad and name not in self.other:
                self.other[name] = parameter.detach().clone()
        decay = min(self.decay, self.step / (9 + self.step))
        torch._foreach_lerp_(list(self.other.values()), [self.parameters[name] for name in self.other], 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights during the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Swap values, not tensors: an LSTM's weights on CUDA are views of one buffer, which must stay together."""
        for name, tensor in self.other.items():
            held = tensor.clone()
            tensor.copy_(self.parameters[name])
            self.parameters[name].copy_(held)

    def state_dict(self) -> dict[str, Any]:
        """Within `applied`: the raw weights."""
        return {"step": self.step, "raw": self.other} | ({} if self.last is None else {"kept": self.kept})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the raw weights of a model that has the averaged ones of the same checkpoint. Raises ValueError for others."""
        if state["step"] < 0:
            raise ValueError(f"step is {state['step']}")
        self.step, kept = state["step"], state["kept"] if self.last is not None else []
        self.other, *self.kept = (self._own(each) for each in (state["raw"], *kept))
        self._swap()

    def _own(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Saved tensors, cut as the parameters are. Raises ValueError for others."""
        for name, tensor in tensors.items():
            own = self.parameters[name]
            if tensor.shape != own.shape or tensor.dtype != own.dtype or not torch.isfinite(tensor).all():
                raise ValueError(f"raw {name} has another shape, or is not finite")
        return {name: part_of(tensor, self.parameters[name]) for name, tensor in tensors.items()}


def _mean(tensors: list[Tensor]) -> Tensor:
    total = tensors[0].clone()
    for tensor in tensors[1:]:
        total += tensor
    return total / len(tensors)
