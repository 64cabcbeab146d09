"""Parameter groups of an optimizer: by kind (weight decay) and by depth in the encoder (learning rate)."""

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

# Position of a parameter in an encoder; both directions of a BiLSTM layer count as one layer.
LAYER = r"(?:\w+_)?layers\.(?P<layer>\d+)"
PLACE = re.compile(rf"encoders\.\d+\.(?:embedding[^.]*|{LAYER})(?:\.|$)")
IN_LAYER = re.compile(rf"(?:encoders\.\d+\.)?{LAYER}\.")  # of an encoder or a decoder, but not of a head


@dataclass(frozen=True, kw_only=True)
class LayerDecay:
    """Layer-wise learning-rate decay, for any optimizer: lower learning rates for lower layers.

    layer_decay: factor on the learning rate from each layer to the one below, the embeddings lowest; null: 1

    lr * layer_decay ** (top - depth), by `parameter_depths`. Clark et al. 2020 (ELECTRA, appendix B) take 0.8 for 12 layers,
    Sun et al. 2019 ("How to fine-tune BERT", section 5.3) 0.95.
    """

    layer_decay: float | None = None


def num_layers(model: nn.Module) -> int:
    """Number of layers of the model's encoders, parameters `encoders.I.layers.K`; 0 if it has none."""
    layers = [int(place["layer"]) for place in _places(model).values() if place and place["layer"]]
    return 1 + max(layers, default=-1)


def parameter_depths(model: nn.Module) -> dict[str, int]:
    """Depth of each parameter: 0 for an encoder's embeddings, K + 1 for its layer K, num_layers + 1 for the rest (pooler, head)."""
    top = num_layers(model) + 1
    return {name: int(place["layer"] or -1) + 1 if place else top for name, place in _places(model).items()}


def parameter_groups(
    model: nn.Module, weight_decay: float, *, lr: float = 1.0, layer_decay: float | None = None
) -> list[dict[str, Any]]:
    """Trainable parameters in groups of one weight decay and one learning rate, the highest first.

    Matrices decay; biases and norms (one dimension) do not. A group sets only what differs between groups. Raises ValueError
    for a layer_decay that this model does not support.
    """
    rates = {} if layer_decay is None else layer_rates(model, lr, layer_decay)
    groups: dict[tuple[float, ...], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = {"lr": rates[name]} if rates else {}
            if weight_decay:
                own["weight_decay"] = weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault(tuple(own.values()), {"params": [], **own})["params"].append(parameter)
    return [groups[key] for key in sorted(groups, reverse=True)]


def layer_rates(model: nn.Module, lr: float, layer_decay: float) -> dict[str, float]:
    """The learning rate of each parameter; empty if it is the same for all."""
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}")
    if layer_decay == 1:
        return {}
    if any(place is None and IN_LAYER.match(name) for name, place in _places(model).items()):
        raise ValueError("layer_decay is not defined for the layers of a decoder; write null")
    if not num_layers(model):
        raise ValueError("layer_decay needs a model with layers, such as transformer, bert or bilstm")
    top = num_layers(model) + 1
    return {name: lr * layer_decay ** (top - depth) for name, depth in parameter_depths(model).items()}


def _places(model: nn.Module) -> dict[str, re.Match[str] | None]:
    return {name: PLACE.match(name) for name, _ in model.named_parameters()}
