"""Which layers of the encoders learn, epoch by epoch."""

import logging
from typing import Literal

from torch import nn

from utils.training.parameter_groups import num_layers, parameter_depths

logger = logging.getLogger("glassbox")


class Freezing:
    """Keeps the embeddings and the lowest layers of the encoders as they are, in all of the run or in its first epochs.

    layers: number of lowest layers to freeze, besides the embeddings; 0: the embeddings only; all: the whole encoders
    unfreeze_every: epochs until the topmost frozen layer is unfrozen, then the next, the embeddings last; null: never

    Gradual unfreezing is Howard and Ruder 2018, section 3.3, from `all`, every epoch. What lies above the layers (final norm,
    pooler) is frozen by `all` alone, and learns with the topmost layer. A frozen parameter has no gradient, so backward ends
    above it, the optimizer passes it over, and it keeps every bit; its dropout goes on. What is frozen is a function of the epoch
    alone: a resumed run needs no state. What was frozen before (vectors.freeze) stays so.
    """

    def __init__(
        self, model: nn.Module, *, layers: int | Literal["all"] = "all", unfreeze_every: int | None = None
    ) -> None:
        """`model` as it learns without this. Raises ValueError where nothing could be frozen, or nothing would learn."""
        self.num_layers, self.unfreeze_every = num_layers(model), unfreeze_every
        if layers != "all" and not 0 <= layers <= self.num_layers:
            raise ValueError(
                f"layers must be all, or from 0 to {self.num_layers} (the model has no more), got {layers}"
            )
        if unfreeze_every is not None and unfreeze_every < 1:
            raise ValueError(f"unfreeze_every must be at least 1, got {unfreeze_every}")
        self.first = self.num_layers + 2 if layers == "all" else layers + 1  # all that lies below is frozen at first
        depths = {name: depth for name, depth in parameter_depths(model).items() if name.startswith("encoders.")}
        if min(depths.values(), default=self.first) >= self.first:
            raise ValueError(f"layers: {layers} would freeze nothing: no parameters are named encoders.*.embedding")
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = [(p, depths[name]) for name, p in learning.items() if name in depths]
        if all(name in depths and depths[name] < self.first for name in learning):
            raise ValueError(f"layers: {layers} would freeze all that learns")
        self.said: int | None = None  # what the log was told last

    def first_learning(self, epoch: int) -> int:
        """The depth (see `parameter_depths`) from which on upwards the encoders learn in an epoch; 0: all of them."""
        num_unfrozen = epoch // self.unfreeze_every if self.unfreeze_every else 0
        if num_unfrozen == 0:
            return self.first
        return max(0, min(self.first, self.num_layers + 1) - num_unfrozen)

    def apply(self, epoch: int) -> None:
        """Let the parameters learn that do so in this epoch, the first being 0, and no others."""
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
