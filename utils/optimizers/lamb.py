"""LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning", Algorithm 2): Adam with one learning rate per matrix."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Adam's direction, scaled so that a matrix moves in proportion to its own norm.

    Biases and norms (one dimension) move as with AdamW: the authors' code leaves them out of the scaling, too.

    lr: learning rate: the share of its own norm that a matrix moves in a step
    betas: decay of the moving averages of the gradient and of its square
    eps: added to the root of the squared average
    weight_decay: of matrices, added to the direction before it is scaled
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value, is_good in (
            ("lr", lr, lr >= 0),
            ("eps", eps, eps > 0),
            ("weight_decay", weight_decay, weight_decay >= 0),
            ("betas", betas, len(betas) == 2 and all(0 <= beta < 1 for beta in betas)),
        ):
            if not is_good:
                raise ValueError(f"Invalid {name}: {value}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(self._change(parameter, group))

    def _change(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """What is subtracted from a parameter."""
        state = self.state[parameter]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        mean = state["exp_avg"] / (1 - beta1 ** state["step"])
        root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_()
        direction = mean.div_(root.add_(group["eps"])).add_(parameter, alpha=group["weight_decay"])
        return direction.mul_(group["lr"] * trust_ratio(parameter, direction))


def trust_ratio(parameter: Tensor, direction: Tensor) -> Tensor | float:
    """The norm of a matrix over that of its direction; 1 for vectors, and where one of the norms is 0."""
    if parameter.ndim < 2:
        return 1.0
    weight, step = parameter.norm(), direction.norm()
    return torch.where((weight > 0) & (step > 0), weight / step, torch.ones_like(weight))
