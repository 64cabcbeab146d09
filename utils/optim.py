"""Optimizers of torch by name, and the one update of the weights: norm, clip, refuse what is not finite, step."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import NonFiniteError
from utils.schema import TorchPart

OPTIMIZERS: dict[str, TorchPart] = {
    "Adadelta": TorchPart(torch.optim.Adadelta, ("lr", "rho", "eps", "weight_decay")),
    "Adafactor": TorchPart(torch.optim.Adafactor, ("lr", "beta2_decay", "d", "weight_decay")),
    "Adagrad": TorchPart(torch.optim.Adagrad, ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")),
    "Adam": TorchPart(torch.optim.Adam, ("lr", "betas", "eps", "weight_decay", "amsgrad")),
    "AdamW": TorchPart(torch.optim.AdamW, ("lr", "betas", "eps", "weight_decay", "amsgrad")),
    "Adamax": TorchPart(torch.optim.Adamax, ("lr", "betas", "eps", "weight_decay")),
    "ASGD": TorchPart(torch.optim.ASGD, ("lr", "lambd", "alpha", "t0", "weight_decay")),
    "NAdam": TorchPart(torch.optim.NAdam, ("lr", "betas", "eps", "weight_decay", "momentum_decay")),
    "RAdam": TorchPart(torch.optim.RAdam, ("lr", "betas", "eps", "weight_decay")),
    "RMSprop": TorchPart(torch.optim.RMSprop, ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")),
    "Rprop": TorchPart(torch.optim.Rprop, ("lr", "etas", "step_sizes")),
    "SGD": TorchPart(torch.optim.SGD, ("lr", "momentum", "dampening", "weight_decay", "nesterov")),
}


def build_optimizer(model: nn.Module, values: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a config section, fused where torch has it, without weight decay on biases and norms.

    Raises ValueError for a value that the optimizer refuses.
    """
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "name"
    }
    if options["lr"] <= 0:
        raise ValueError(f"lr must be positive, got {options['lr']}")
    groups = parameter_groups(model, options.get("weight_decay", 0.0))
    build = OPTIMIZERS[values["name"]].build
    has_sparse = any(
        getattr(module, "sparse", False) for module in model.modules()
    )  # fused kernels refuse those gradients
    optimizer = None if has_sparse else _fused(build, groups, options)
    optimizer = optimizer or build(groups, **options)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices with weight decay, biases and norms (one dimension) without."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not weight_decay:
        return [{"params": trainable}]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def takes_sparse(values: Mapping[str, Any]) -> bool:
    """Whether this optimizer section can do with the sparse gradients of an embedding table."""
    is_plain = not values.get("weight_decay") and not values.get("momentum")
    return values["name"] in ("Adagrad", "SGD") and is_plain


def _fused(build: Any, groups: list[dict[str, Any]], options: dict[str, Any]) -> torch.optim.Optimizer | None:
    try:
        return build(groups, fused=True, **options)  # one kernel a step: 8 ms instead of 50 for a small BERT on a CPU
    except (TypeError, RuntimeError):
        return None  # this optimizer, or this device, has no fused kernel


class Updater:
    """One update of the weights from the gradients that lie in them.

    A loss or gradient that is not finite never reaches the weights. On a CPU that is known before the step. On CUDA it is known
    only there: a fused optimizer skips the step on the device by itself, and the host reads the flag one step later, when
    reading no longer waits; an optimizer without a fused kernel has to wait.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, max_grad_norm: float | None) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm
        self.is_masked = all(group.get("fused") for group in optimizer.param_groups)
        self._unread: tuple[str, Tensor] | None = None

    def apply(self, loss: Tensor, what: str) -> Tensor:
        """Clip, check and step; -> the norm before clipping, (). Raises NonFiniteError, which begins with `what`."""
        gradients = [_values(p.grad) for p in self.parameters.values() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if self.max_grad_norm is not None:
            torch._foreach_mul_(gradients, torch.clamp(self.max_grad_norm / (norm + 1e-6), max=1.0))
        self.check()  # the step before
        is_bad = ~(torch.isfinite(norm) & torch.isfinite(loss))
        self._unread = (what, is_bad)
        if norm.device.type == "cpu" or not self.is_masked:
            self.check()
        else:
            self.optimizer.found_inf = is_bad.float()  # type: ignore[attr-defined]  # read by torch's fused kernels
        self.optimizer.step()
        return norm

    def check(self) -> None:
        """Raise NonFiniteError if the last update was not finite; to be called before its weights are saved."""
        unread, self._unread = self._unread, None
        if unread is not None and unread[1].item():
            raise NonFiniteError(
                f"{unread[0]}: {self._culprit()} is not finite; the weights were not changed by it. Lower optimizer.lr"
            )

    def _culprit(self) -> str:
        for name, parameter in self.parameters.items():
            if parameter.grad is not None and not torch.isfinite(_values(parameter.grad)).all():
                return f"the gradient of {name}"
        return "the loss"


def _values(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient
