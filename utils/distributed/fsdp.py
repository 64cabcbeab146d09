"""Fully sharded data parallelism (FSDP2): each process keeps a part of every weight; a layer is whole only while it is computed.

Rajbhandari et al. 2020 (ZeRO, https://arxiv.org/abs/1910.02054, stage 3); Zhao et al. 2023 (https://arxiv.org/abs/2304.11277). The
work is done by torch's `fully_shard`: a weight becomes a DTensor, whose shape is that of the whole and whose values are a part. So
optimizers, clipping and averages go on as they are; what is saved is gathered (`all_whole`), what is loaded is cut again
(`part_of`), and a checkpoint knows nothing of it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def shard(model: nn.Module, device: torch.device, size: int) -> nn.Module:
    """Cut the model in place over all processes, layer by layer; a layer is what stands in a ModuleList.

    Encoders are no units of their own: a task may call more of them than `forward`, and read their tables.
    """
    from torch.distributed.device_mesh import init_device_mesh  # 1.7 s, for those alone who shard
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (size,))
    lists = [
        module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and name != "encoders"
    ]
    for layer in [layer for module in reversed(lists) for layer in module]:  # the inner ones first
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)  # in place: the object is the same
    return model


@contextlib.contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """While it lasts, every process has all weights of a model that is cut, for calls of other methods than `forward`."""
    cut: list[Any] = [module for module in model.modules() if hasattr(module, "unshard")]
    for module in cut:
        module.unshard()
    try:
        yield
    finally:
        for module in cut:
            module.reshard()


def refuse_uncuttable(model: nn.Module, optimizer: str) -> None:
    """Raise ValueError for a table of words with sparse gradients, and for an optimizer that looks at a weight as a whole."""
    if any(getattr(module, "sparse", False) for module in model.modules()):
        raise ValueError(
            "strategy fsdp cannot cut a table of words with sparse gradients; use ddp, or an optimizer with dense ones (Adam)"
        )
    if optimizer in ("Adafactor", "Muon"):
        raise ValueError(
            f"strategy fsdp cannot cut what optimizer {optimizer} keeps; use ddp, or another optimizer (Adam)"
        )


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be cut, whole; called by all processes."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def all_whole(value: Any, *, is_kept: bool) -> Any:
    """A state with all tensors in it whole, those that were cut on the host; is_kept: False where only the others need them."""
    if isinstance(value, Mapping):
        return {key: all_whole(inner, is_kept=is_kept) for key, inner in value.items()}
    if isinstance(value, list):
        return [all_whole(inner, is_kept=is_kept) for inner in value]
    if not hasattr(value, "full_tensor"):
        return value
    tensor = whole(value)  # one after the other, so that a device need not hold them all
    return tensor.cpu() if is_kept else torch.empty(0)


def part_of(tensor: Tensor, like: Any) -> Tensor:
    """A whole tensor on the device of another one of its shape, and cut as that one is."""
    if not hasattr(like, "device_mesh"):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    # src_data_rank: each process takes its part of the tensor that it has itself, and hears of no other.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
