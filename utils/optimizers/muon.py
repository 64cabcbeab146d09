"""Muon for the matrices of the layers, AdamW for everything else, as one optimizer."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from utils.optimizers.parameter_groups import IN_LAYER


class MuonWithAdamW(torch.optim.Optimizer):
    """torch.optim.Muon (Jordan et al. 2024) on the layers' matrices, torch.optim.AdamW on embeddings, heads, biases and norms.

    Muon's steps are scaled to the length of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4), so that one lr
    and one schedule serve both.

    lr: learning rate of both
    momentum: of Muon
    nesterov: use Nesterov momentum
    ns_steps: number of Newton-Schulz iterations, which make the update of a matrix nearly orthogonal
    betas: of AdamW: decay of the moving averages of the gradient and of its square
    eps: of AdamW: added to the root of the squared average
    weight_decay: of matrices, decoupled, in both
    """

    def __init__(
        self,
        params: Iterable[Mapping[str, Any]],
        fused: bool | None = None,
        *,
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ) -> None:
        """params: groups, each with `is_hidden`: whether Muon moves it; fused: of AdamW."""
        groups = [dict(group) for group in params]
        hidden = [group for group in groups if group["is_hidden"]]
        others = [group for group in groups if not group["is_hidden"]]
        muon = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps, "adjust_lr_fn": "match_rms_adamw"}
        self.parts: list[torch.optim.Optimizer] = []
        if hidden:
            self.parts.append(torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, **muon))  # type: ignore[arg-type]
        if others:
            options = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused}
            self.parts.append(torch.optim.AdamW(others, lr=lr, **options))  # type: ignore[arg-type]
        self.parts.sort(key=lambda part: -max(group["lr"] for group in part.param_groups))  # the highest rate first
        super().__init__([group for part in self.parts for group in part.param_groups], {"lr": lr})
        self._share()

    def _share(self) -> None:
        """Let the parts work on this optimizer's own groups and state."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups, part.state = [next(groups) for _ in part.param_groups], self.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update."""
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()


def mark_hidden(groups: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The groups, each cut into the matrices of layers and the rest: embeddings, heads, norms (Jordan et al. 2024).

    names: of the parameters by their id
    """
    found = []
    for group in groups:
        for is_hidden in (True, False):
            own = [
                p for p in group["params"] if (p.ndim == 2 and IN_LAYER.match(names[id(p)]) is not None) is is_hidden
            ]
            if own:
                found.append({**group, "params": own, "is_hidden": is_hidden})
    return found
