"""A model's graph for TensorBoard, traced by torch.jit.trace with one batch."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import reason_of


class TracingError(Exception):
    """A model that cannot be traced; its text says why, in one line."""


def write_graph(writer: Any, model: nn.Module, batch: Any) -> None:
    """Add the graph of a model over a batch on its device, to a SummaryWriter. Raises TracingError.

    It is that of the plain padded computation in evaluation: the packed one has shapes that depend on values.
    """
    tensors, rebuild = as_tensors(batch)
    try:
        with _traceable(model):
            writer.add_graph(Model(model, rebuild), tensors)
    except OSError:
        raise
    except Exception as error:  # of the tracer, or of a model that it cannot follow: there are many kinds
        raise TracingError(reason_of(error)) from None


def as_tensors(batch: Any) -> tuple[tuple[Tensor, ...], Callable[[Sequence[Tensor]], Any]]:
    """A batch as the tensors that a model is called with, and how its argument is made of them again.

    That is the list `fields` of a batch of texts; a model of another task takes the batch itself, a dataclass.
    """
    if hasattr(batch, "fields"):
        names = [list(field) for field in batch.fields]

        def of_fields(tensors: Sequence[Tensor]) -> Any:
            left = iter(tensors)
            return [{name: next(left) for name in own} for own in names]

        return tuple(tensor for field in batch.fields for tensor in field.values()), of_fields
    found = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return tuple(found.values()), lambda tensors: replace(batch, **dict(zip(found, tensors, strict=True)))


class Model(nn.Module):
    """A model as a function of tensors, which is what can be traced. TensorBoard calls the root of the graph like this class."""

    def __init__(self, model: nn.Module, rebuild: Callable[[Sequence[Tensor]], Any]) -> None:
        super().__init__()
        self.model, self.rebuild = model, rebuild

    def forward(self, *tensors: Tensor) -> Any:
        """The model's outputs, without those that are None."""
        outputs = self.model(self.rebuild(tensors))
        return tuple(o for o in outputs if o is not None) if isinstance(outputs, tuple) else outputs


@contextlib.contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """While it lasts, the model computes with padding; no random number is drawn for good, nothing is printed or warned of.

    SummaryWriter.add_graph puts the model into evaluation and back.
    """
    device = next(model.parameters()).device
    packed = [module for module in model.modules() if getattr(module, "packed", False)]
    for module in packed:
        module.packed = False  # type: ignore[assignment]
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            contextlib.redirect_stdout(io.StringIO()),  # where it prints errors
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for module in packed:
            module.packed = True  # type: ignore[assignment]
