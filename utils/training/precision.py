"""Mixed precision: autocast of the training's forward pass, and loss scaling for float16."""

import contextlib
import logging
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger("glassbox")
MIN_SCALE = 1e-4  # as in fairseq (Ott et al. 2019): below it, an overflow has another cause


class Precision:
    """`float32`, or `mixed`: matrix products of the training's forward and backward pass in 16 bits, weights, gradients, sums and
    losses in float32 (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740); `auto`: mixed where that is known to be faster,
    on CUDA and on a CPU with bfloat16 units.

    The 16-bit type is bfloat16 where the device supports it: CPUs, CUDA devices since Ampere. Elsewhere it is float16, whose
    largest number is 65,504 and smallest 6e-8: the loss is multiplied by a scale before the backward pass, and the gradients are
    divided by it afterwards. A non-finite gradient then means too large a scale: the step is skipped, and the scale halved.

    Evaluation and prediction compute in float32, so that training, `test` and `predict` give the same figures on every device.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "auto":
            is_faster = device.type == "cuda" or (device.type == "cpu" and _has_bfloat16_units() is True)
            name = "mixed" if is_faster else "float32"
        self.device_type = device.type
        self.dtype = _short_float(device) if name == "mixed" else torch.float32
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        if name == "mixed":
            logger.info("mixed precision: %s", str(self.dtype).removeprefix("torch."))
        if self.dtype == torch.bfloat16 and device.type == "cpu":
            _bound_kernel_caches()
            if _has_bfloat16_units() is False:
                logger.warning(
                    "warning: train.precision: mixed is slower than float32 on this CPU, which has no bfloat16 units"
                )

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast context for the forward pass of training."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def scale(self, loss: Tensor) -> Tensor:
        """The scaled loss () for the backward pass."""
        return self.scaler.scale(loss)

    def unscale(self, optimizer: Any) -> None:
        """Divide the gradients by the scale, and choose the next one: half of it after a bad step, double after 2,000 good ones."""
        self.scaler.unscale_(optimizer)
        self.scaler.update()

    def takes_skip(self, what: str) -> bool:
        """Whether a non-finite step may be skipped; `what` describes it in the log. Waits for the device."""
        if not self.scaler.is_enabled() or self.scaler.get_scale() < MIN_SCALE:
            return False
        logger.warning(
            "warning: %s in float16; the step is skipped, the loss scale is now %g", what, self.scaler.get_scale()
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        """The loss scale; None if there is none."""
        state = self.scaler.state_dict()
        return {name: state.get(name) for name in ("scale", "_growth_tracker")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the loss scale; ignored when resuming in another precision. Raises ValueError for a bad one."""
        if not self.scaler.is_enabled() or state["scale"] is None:
            return
        if not 0 < state["scale"] < float("inf") or state["_growth_tracker"] < 0:
            raise ValueError(f"scale {state['scale']}")
        self.scaler.load_state_dict(self.scaler.state_dict() | state)


def _bound_kernel_caches() -> None:
    """Cache at most 64 kernels of 16 bits on a CPU, more than a step uses. By default two caches keep 1,024, one for every number
    of tokens in a batch, some MB each: 12 GB after 700 steps of MiniLM (pytorch/pytorch#27971). Read at the first use.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):  # torch's and oneDNN's
        os.environ.setdefault(name, "64")


def _short_float(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.bfloat16
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16


def _has_bfloat16_units() -> bool | None:
    """Whether this CPU has bfloat16 instructions; None if torch does not know."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    found = [value for name, value in known.items() if "bf16" in name]
    return any(found) if found else None
