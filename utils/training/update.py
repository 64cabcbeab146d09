"""Update of the weights: gradient norm, clipping, rejection of non-finite values, optimizer step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from utils.distributed.fsdp import whole
from utils.distributed.sparse_gradients import coalesced
from utils.errors import NonFiniteError
from utils.optimizers.building import Optimizer
from utils.training.precision import Precision
from utils.training.weight_average import WeightAverage

FLOAT32 = Precision("float32", torch.device("cpu"))


class Updater:
    """Updates the weights from their gradients.

    A non-finite loss or gradient never reaches the weights. On a CPU it is detected before the step. On CUDA it is known only on
    the device: a fused optimizer skips the step there, and the host reads the flag one step later, when it no longer has to
    wait; an optimizer without a fused kernel has to wait. In float16 such a gradient is not an error, but the step is skipped,
    as long as a smaller scale may help (see utils/training/precision.py).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        max_grad_norm: float | None,
        precision: Precision = FLOAT32,
        average: WeightAverage | None = None,
    ) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}  # whether frozen at present or not
        self.parameters = {name: p for name, p in model.named_parameters() if id(p) in held}
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm
        self.precision, self.average = precision, average
        self._unread: tuple[Callable[[], str], Tensor, list[str], Tensor] | None = None

    @property
    def is_masked(self) -> bool:
        """Whether the device skips a bad step by itself."""
        device = next(iter(self.parameters.values())).device
        return device.type != "cpu" and all(group.get("fused") for group in self.optimizer.param_groups)

    def apply(self, loss: Tensor, what: Callable[[], str]) -> Tensor:
        """Clip, check and step; -> the norm before clipping, (). Raises NonFiniteError, whose message begins with `what()`."""
        for parameter in self.parameters.values():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = coalesced(parameter.grad)  # or micro-batches do not add up row by row
        self.precision.unscale(self.optimizer)
        found = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        gradients = {name: grad._values() if grad.is_sparse else grad for name, grad in found.items()}
        norms = torch.stack(torch._foreach_norm(list(gradients.values())))  # (number of gradients,)
        norms, norm = whole(norms), whole(torch.linalg.vector_norm(norms))
        if self.max_grad_norm is not None and (norm.device.type != "cpu" or norm + 1e-6 > self.max_grad_norm):
            nn.utils.clip_grads_with_norm_(self.parameters.values(), self.max_grad_norm, norm)
        self.check()  # the previous step
        is_bad = ~(torch.isfinite(norm) & torch.isfinite(loss))
        self._unread = (what, is_bad, list(gradients), norms)
        if self.is_masked:
            self.optimizer.found_inf = is_bad.float()  # type: ignore[union-attr]  # read by torch's fused kernels
        if self.is_masked or not self.check():
            self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return norm

    def check(self) -> bool:
        """True if the last step was skipped; call before saving the weights.

        Raises NonFiniteError if it was not finite, and a smaller float16 scale does not help.
        """
        unread, self._unread = self._unread, None
        if unread is None or not unread[1].item():
            return False
        what, _, names, norms = unread
        bad = [name for name, norm in zip(names, norms.tolist(), strict=True) if not math.isfinite(norm)]
        culprit = f"the gradient of {bad[0]}" if bad else "the loss"
        if bad and self.precision.takes_skip(f"{what()}: {culprit} is not finite"):
            return True
        raise NonFiniteError(
            f"{what()}: {culprit} is not finite; the weights were not changed by it. Lower optimizer.lr"
        )
