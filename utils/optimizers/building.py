"""Optimizers by name: torch's own, and LAMB."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from utils.config.schema import TorchPart
from utils.optimizers.lamb import Lamb
from utils.optimizers.muon import MuonWithAdamW, mark_hidden
from utils.optimizers.parameter_groups import parameter_groups
from utils.optimizers.sparse_adagrad import SparseAdagrad

Optimizer = torch.optim.Optimizer | SparseAdagrad

# Without Rprop and ASGD: torch's Rprop ignores the schedule, and the average of its ASGD is never used (see `average`).
OPTIMIZERS: dict[str, TorchPart | type[torch.optim.Optimizer]] = {
    "Adadelta": TorchPart(torch.optim.Adadelta, ("lr", "rho", "eps", "weight_decay")),
    "Adafactor": TorchPart(torch.optim.Adafactor, ("lr", "beta2_decay", "d", "weight_decay")),
    "Adagrad": TorchPart(torch.optim.Adagrad, ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")),
    "Adam": TorchPart(torch.optim.Adam, ("lr", "betas", "eps", "weight_decay", "amsgrad")),
    "AdamW": TorchPart(torch.optim.AdamW, ("lr", "betas", "eps", "weight_decay", "amsgrad")),
    "Adamax": TorchPart(torch.optim.Adamax, ("lr", "betas", "eps", "weight_decay")),
    "LAMB": Lamb,
    "Muon": MuonWithAdamW,
    "NAdam": TorchPart(torch.optim.NAdam, ("lr", "betas", "eps", "weight_decay", "momentum_decay")),
    "RAdam": TorchPart(torch.optim.RAdam, ("lr", "betas", "eps", "weight_decay")),
    "RMSprop": TorchPart(torch.optim.RMSprop, ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")),
    "SGD": TorchPart(torch.optim.SGD, ("lr", "momentum", "dampening", "weight_decay", "nesterov")),
}


def build_optimizer(model: nn.Module, values: Mapping[str, Any]) -> Optimizer:
    """Build the optimizer of a config section, fused if torch supports it, without weight decay on biases and norms.

    Raises ValueError for a value that the optimizer rejects.
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
    """Fused if torch supports it: one kernel per step, 8 ms instead of 50 for a small BERT on a CPU."""
    part = OPTIMIZERS[name]
    build: Callable[..., torch.optim.Optimizer] = part.build if isinstance(part, TorchPart) else part
    has_sparse = any(getattr(module, "sparse", False) for module in model.modules())  # no kernel takes their gradients
    if has_sparse and name == "Adagrad":
        return SparseAdagrad(groups, **options)
    if name == "Muon":
        groups = mark_hidden(groups, {id(parameter): known for known, parameter in model.named_parameters()})
    devices = {parameter.device.type for parameter in model.parameters()}
    is_cut = any(hasattr(parameter, "device_mesh") for parameter in model.parameters())  # see utils/distributed/fsdp.py
    # Elsewhere kernels are missing, which shows only at a step.
    if not has_sparse and devices <= {"cpu", "cuda", "meta"} and (not is_cut or name in ("Adam", "AdamW")):
        with contextlib.suppress(TypeError, RuntimeError):  # this optimizer has none
            return build([dict(group) for group in groups], fused=True, **options)  # torch writes into the groups
    return build(groups, **options)


def _with_option_names(message: str) -> str:
    """Torch's message with option names, by which the line of the config is found."""
    for word, option in {"epsilon value": "eps", "beta parameter": "betas", "eta values": "etas"}.items():
        message = message.replace(word, option)
    return message


def _keep_kernels(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep our own `fused`: that of a saved state must not be restored when resuming on another device."""
    own = {"fused": optimizer.defaults["fused"]} if "fused" in optimizer.defaults else {}
    return {**state, "param_groups": [{**group, **own} for group in state["param_groups"]]}


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give newly unfrozen parameters (utils/training/freezing.py) the momentum of torch's own first step, which is not
    dampened. Torch's fused SGD fails if only some parameters of a group have a momentum buffer."""
    for group in optimizer.param_groups:
        learning = [p for p in group["params"] if p.grad is not None] if group["momentum"] else []
        new = [p for p in learning if optimizer.state[p].get("momentum_buffer") is None]
        if len(new) < len(learning):  # at the very first step torch does this itself
            for parameter in new:
                gradient = torch.add(parameter.grad, parameter.detach(), alpha=group["weight_decay"]).nan_to_num(
                    0, 0, 0
                )
                optimizer.state[parameter]["momentum_buffer"] = gradient * (group["dampening"] / group["momentum"])


def takes_sparse(values: Mapping[str, Any]) -> bool:
    """Whether this optimizer section supports the sparse gradients of an embedding table."""
    is_plain = not values.get("weight_decay") and not values.get("momentum")
    return values["name"] in ("Adagrad", "SGD") and is_plain
