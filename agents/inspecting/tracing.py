"""What a model computes, tensor by tensor, each with the line of this project's code that made it."""

import contextlib
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[2]
ROOMS = tuple(str(ROOT / room) for room in ("graphs", "agents"))
OWN = (str(Path(__file__).parent), str(ROOT / "graphs" / "layers" / "linear.py"))  # which is as torch's own
NUMBERS = 8  # of each tensor that are kept


@dataclass(frozen=True)
class Numbers:
    """What a tensor held when it was made: its shape, type and first numbers, and of floats the mean and standard deviation."""

    shape: tuple[int, ...]
    dtype: str
    first: list[Any]
    mean: float | None
    std: float | None

    @classmethod
    def of(cls, tensor: Tensor) -> "Numbers":
        values = tensor.detach().flatten()
        shape, dtype, first = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), values[:NUMBERS].tolist()
        if not values.is_floating_point() or not len(values):
            return cls(shape, dtype, first, None, None)
        std, mean = torch.std_mean(values.float(), correction=0)
        return cls(shape, dtype, first, mean.item(), std.item())


@dataclass(frozen=True)
class Made:
    """A tensor that was made at a line of a file. module: the model's part at work, by its dotted name; "" is the model itself."""

    numbers: Numbers
    file: str
    line: int
    module: str
    tensor: Tensor

    @property
    def code(self) -> str:
        """The line itself."""
        return linecache.getline(str(ROOT / self.file), self.line).strip()

    @property
    def gradient(self) -> float | None:
        """The norm of the loss' gradient with respect to the tensor; None before `backward`, or where there is none."""
        if not (self.tensor.is_leaf or self.tensor.retains_grad) or self.tensor.grad is None:
            return None
        return float(self.tensor.grad.norm())


class Trace(TorchFunctionMode):
    """Notes the tensors that torch's functions return to code of this project, as long as it is entered.

    A line that makes several is noted once, with the last of them. With gradients on, the tensors keep theirs.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.stack, self.made = [""], list[Made]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        found = result[0] if isinstance(result, tuple) and result else result
        name, place = getattr(func, "__name__", ""), _place()
        is_new = isinstance(found, Tensor) and not any(found is other for other in args)
        is_filled = not name.startswith(("empty", "new_empty"))  # memory that nothing has been written to
        if place is not None and isinstance(found, Tensor) and (is_filled if is_new else _is_in_place(name)):
            self._note(found, *place)
        return result

    def _note(self, tensor: Tensor, file: str, line: int) -> None:
        if tensor.requires_grad and not tensor.is_leaf:
            tensor.retain_grad()
        made = Made(Numbers.of(tensor), file, line, self.stack[-1], tensor)
        last = self.made[-1] if self.made else None
        if last is not None and (last.file, last.line, last.module) == (file, line, made.module):
            self.made.pop()
        self.made.append(made)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Trace"]:
        """Enter it, and follow which module is at work."""
        hooks = [
            nn.modules.module.register_module_forward_pre_hook(lambda module, _: self._begin(module)),
            nn.modules.module.register_module_forward_hook(lambda *_: self._end()),
        ]
        try:
            with self:
                yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, module: nn.Module) -> None:
        self.stack.append(self.names.get(module, self.stack[-1]))

    def _end(self) -> None:
        self.stack.pop()


def _is_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _place() -> tuple[str, int] | None:
    """(file, line) of the innermost code of the project, outside this package and `linear`, that is being executed."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOMS) and not name.startswith(OWN):
            return str(Path(name).relative_to(ROOT)), frame.f_lineno
        frame = frame.f_back
    return None
