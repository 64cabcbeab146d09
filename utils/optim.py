"""Optimizers of torch by name, and the one update of the weights: norm, clip, refuse what is not finite, step."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import NonFiniteError
from utils.parameter_groups import parameter_groups
from utils.precision import Precision
from utils.schema import TorchPart
from utils.sharding import whole
from utils.sparse_adagrad import SparseAdagrad
from utils.sparse_gradients import coalesced
from utils.weight_average import WeightAverage

Optimizer = torch.optim.Optimizer | SparseAdagrad
FLOAT32 = Precision("float32", torch.device("cpu"))

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


def build_optimizer(model: nn.Module, values: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a config section, fused where torch has it, without weight decay on biases and norms.

    Raises ValueError for a value that the optimizer refuses.
    """
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "name"
    }
    layer_decay = options.pop("layer_decay", None)
    if options["lr"] <= 0:
        raise ValueError(f"lr must be positive, got {options['lr']}")
    groups = parameter_groups(model, options.get("weight_decay", 0.0), lr=options["lr"], layer_decay=layer_decay)
    try:
        optimizer = _build(model, values["name"], groups, options)
    except ValueError as error:
        raise ValueError(_with_option_names(str(error))) from None
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizer.register_load_state_dict_pre_hook(_keep_kernels)
    if isinstance(optimizer, torch.optim.SGD):
        optimizer.register_step_pre_hook(_begin_momentum)
    return optimizer


def _build(model: nn.Module, name: str, groups: list[dict[str, Any]], options: dict[str, Any]) -> Optimizer:
    """Fused where torch can: one kernel a step, 8 ms instead of 50 for a small BERT on a CPU."""
    build = OPTIMIZERS[name].build
    has_sparse = any(getattr(module, "sparse", False) for module in model.modules())  # no kernel takes those gradients
    if has_sparse and name == "Adagrad":
        return SparseAdagrad(groups, **options)
    devices = {parameter.device.type for parameter in model.parameters()}
    is_cut = any(hasattr(parameter, "device_mesh") for parameter in model.parameters())  # see utils/sharding.py
    # Elsewhere kernels are missing, which shows at a step only.
    if not has_sparse and devices <= {"cpu", "cuda", "meta"} and (not is_cut or name in ("Adam", "AdamW")):
        with contextlib.suppress(TypeError, RuntimeError):  # this optimizer has none
            return build([dict(group) for group in groups], fused=True, **options)  # torch writes into the groups
    return build(groups, **options)


def _with_option_names(message: str) -> str:
    """Torch's message with the names of its own options, by which the line at fault is found."""
    for word, option in {"epsilon value": "eps", "beta parameter": "betas", "eta values": "etas"}.items():
        message = message.replace(word, option)
    return message


def _keep_kernels(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A saved state says whether its kernels were fused; a run that goes on on another device must not take that over."""
    own = {"fused": optimizer.defaults["fused"]} if "fused" in optimizer.defaults else {}
    return {**state, "param_groups": [{**group, **own} for group in state["param_groups"]]}


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give parameters that were frozen until now (utils/freezing.py) the momentum that makes their first step torch's own, which
    is not dampened. Torch's fused SGD fails where some of a group have a momentum and others do not."""
    for group in optimizer.param_groups:
        learning = [p for p in group["params"] if p.grad is not None] if group["momentum"] else []
        new = [p for p in learning if optimizer.state[p].get("momentum_buffer") is None]
        if len(new) < len(learning):  # at the very first step torch begins by itself
            for parameter in new:
                gradient = torch.add(parameter.grad, parameter.detach(), alpha=group["weight_decay"]).nan_to_num(
                    0, 0, 0
                )
                optimizer.state[parameter]["momentum_buffer"] = gradient * (group["dampening"] / group["momentum"])


def takes_sparse(values: Mapping[str, Any]) -> bool:
    """Whether this optimizer section can do with the sparse gradients of an embedding table."""
    is_plain = not values.get("weight_decay") and not values.get("momentum")
    return values["name"] in ("Adagrad", "SGD") and is_plain


class Updater:
    """One update of the weights from the gradients that lie in them.

    A loss or gradient that is not finite never reaches the weights. On a CPU that is known before the step. On CUDA it is known
    only there: a fused optimizer skips the step on the device by itself, and the host reads the flag one step later, when
    reading no longer waits; an optimizer without a fused kernel has to wait. In float16 such a gradient is no error but a step
    left out, as long as a smaller scale may mend it (see utils/precision.py).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        max_grad_norm: float | None,
        precision: Precision = FLOAT32,
        average: WeightAverage | None = None,
    ) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}  # frozen for the time being or not
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
        """Clip, check and step; -> the norm before clipping, (). Raises NonFiniteError, which begins with what `what` says."""
        for parameter in self.parameters.values():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = coalesced(parameter.grad)  # micro-batches add up row by row only so
        self.precision.unscale(self.optimizer)
        found = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        gradients = {name: grad._values() if grad.is_sparse else grad for name, grad in found.items()}
        norms = torch.stack(torch._foreach_norm(list(gradients.values())))  # (number of gradients,)
        norms, norm = whole(norms), whole(torch.linalg.vector_norm(norms))
        if self.max_grad_norm is not None and (norm.device.type != "cpu" or norm + 1e-6 > self.max_grad_norm):
            torch._foreach_mul_(list(gradients.values()), torch.clamp(self.max_grad_norm / (norm + 1e-6), max=1.0))
        self.check()  # the step before
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
        """Whether the last update was left out; to be called before its weights are saved.

        Raises NonFiniteError if it was not finite, and a smaller scale of float16 is no remedy.
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
