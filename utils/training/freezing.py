"""Layer freezing and gradual unfreezing of the encoders."""

import logging
from typing import Literal

from torch import nn

from utils.optimizers.parameter_groups import num_layers, parameter_depths

logger = logging.getLogger("glassbox")


class Freezing:
    """Freezes the embeddings and the lowest layers of the encoders, for the whole run or its first epochs.

    layers: number of lowest layers to freeze, besides the embeddings; 0: the embeddings only; all: the whole encoders
    unfreeze_every: epochs until the topmost frozen layer is unfrozen, then the next, the embeddings last; null: never

    Gradual unfreezing is Howard and Ruder 2018, section 3.3, from `all`, every epoch. Modules above the layers (final norm,
    pooler) are frozen only by `all`, and unfrozen with the topmost layer. A frozen parameter has no gradient, so backward stops
    above it, the optimizer skips it, and it keeps every bit; its dropout stays on. What is frozen is a function of the epoch
    alone: a resumed run needs no state. Parameters frozen before (vectors.freeze) stay frozen.
    """

    def __init__(
        self, model: nn.Module, *, layers: int | Literal["all"] = "all", unfreeze_every: int | None = None
    ) -> None:
        """model: as it is trained without freezing. Raises ValueError if nothing could be frozen, or nothing would be trained."""
        self.num_layers, self.unfreeze_every = num_layers(model), unfreeze_every
        if layers != "all" and not 0 <= layers <= self.num_layers:
            raise ValueError(
                f"layers must be all, or from 0 to {self.num_layers} (the model has no more), got {layers}"
            )
        if unfreeze_every is not None and unfreeze_every < 1:
            raise ValueError(f"unfreeze_every must be at least 1, got {unfreeze_every}")
        self.first = self.num_layers + 2 if layers == "all" else layers + 1  # everything below is frozen at first
        depths = {name: depth for name, depth in parameter_depths(model).items() if name.startswith("encoders.")}
        if min(depths.values(), default=self.first) >= self.first:
            raise ValueError(f"layers: {layers} would freeze nothing: no parameters are named encoders.*.embedding")
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = [(p, depths[name]) for name, p in learning.items() if name in depths]
        if all(name in depths and depths[name] < self.first for name in learning):
            raise ValueError(f"layers: {layers} would freeze all trainable parameters")
        self.said: int | None = None  # what was logged last

    def first_learning(self, epoch: int) -> int:
        """The lowest depth (see `parameter_depths`) that is trained in an epoch; 0: everything is."""
        num_unfrozen = epoch // self.unfreeze_every if self.unfreeze_every else 0
        if num_unfrozen == 0:
            return self.first
        return max(0, min(self.first, self.num_layers + 1) - num_unfrozen)

    def apply(self, epoch: int) -> None:
        """Set requires_grad for this epoch (0-based)."""
        first = self.first_learning(epoch)
        for parameter, depth in self.parameters:
            parameter.requires_grad_(depth >= first)
        if first != self.said:
            logger.info("epoch %d: %s frozen", epoch + 1, self._words(first))
            self.said = first

    def _words(self, first: int) -> str:
        if first <= 1:
            return "the embeddings are" if first else "nothing is"
        if first > self.num_layers + 1:
            return "the encoders are"
        return f"the embeddings and the lowest {first - 1} of {self.num_layers} layers are"
