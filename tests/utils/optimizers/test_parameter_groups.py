"""Which learning rate and weight decay each parameter has, by its name."""

from typing import Any

import pytest
import torch
from layered import Layered
from torch import nn

from utils.config.option_types import convert
from utils.config.schema import options_of
from utils.optimizers.building import OPTIMIZERS, build_optimizer
from utils.optimizers.parameter_groups import num_layers, parameter_depths, parameter_groups
from utils.optimizers.schedules import Linear

LR, DECAY = 0.1, 0.5
DEPTHS = {
    "encoders.0.embedding.weight": 0,
    "encoders.0.embedding_norm.weight": 0,
    "encoders.0.embedding_norm.bias": 0,
    "encoders.0.layers.0.weight": 1,
    "encoders.0.layers.0.bias": 1,
    "encoders.0.layers.1.weight": 2,
    "encoders.0.layers.1.bias": 2,
    "encoders.0.layers.2.weight": 3,
    "encoders.0.layers.2.bias": 3,
    "encoders.0.pooler.weight": 4,
    "encoders.0.pooler.bias": 4,
    "head.layers.0.weight": 4,
    "head.layers.0.bias": 4,
}


def section(name: str, **values: Any) -> dict[str, Any]:
    defaults = {o.name: convert(o.default, o.type) for o in options_of(OPTIMIZERS[name]).values()}
    return {"name": name, **defaults, "lr": LR, **values}


def settings_of(model: nn.Module, optimizer: Any, key: str) -> dict[str, float]:
    """What each parameter's group says, by the parameter's name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group[key] for group in optimizer.param_groups for p in group["params"]}


def test_depths_go_by_the_names() -> None:
    assert parameter_depths(Layered()) == DEPTHS
    assert num_layers(Layered()) == 3


def test_every_field_has_an_encoder_and_its_layers_are_as_deep_as_the_others() -> None:
    depths = parameter_depths(Layered(num_encoders=2))
    assert {name: depth for name, depth in depths.items() if not name.startswith("encoders.1.")} == DEPTHS
    assert all(depths[name] == depths[name.replace("encoders.1.", "encoders.0.")] for name in depths)


def test_more_than_ten_layers_are_told_apart() -> None:
    model = Layered(num_layers=12)
    assert (num_layers(model), parameter_depths(model)["encoders.0.layers.11.bias"]) == (12, 12)
    assert parameter_depths(model)["head.layers.0.bias"] == 13


def test_a_model_without_layers_has_depths_too() -> None:
    assert num_layers(Layered(num_layers=0)) == num_layers(nn.Linear(2, 2)) == 0
    assert set(parameter_depths(Layered(num_layers=0)).values()) == {0, 1}
    assert parameter_depths(nn.Linear(2, 2)) == {"weight": 1, "bias": 1}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_each_layer_has_its_share_of_the_rate_of_the_one_above(name: str, weight_decay: float) -> None:
    model, own = Layered(), {"weight_decay": weight_decay} if "weight_decay" in section(name) else {}
    optimizer = build_optimizer(model, section(name, layer_decay=DECAY, **own))
    rates = settings_of(model, optimizer, "lr")
    assert rates == pytest.approx({parameter: LR * DECAY ** (4 - depth) for parameter, depth in DEPTHS.items()})
    assert settings_of(model, optimizer, "initial_lr") == rates
    if own:
        is_matrix = {parameter: p.ndim >= 2 for parameter, p in model.named_parameters()}
        decays = settings_of(model, optimizer, "weight_decay")
        assert decays == {parameter: weight_decay * is_matrix[parameter] for parameter in DEPTHS}
    assert optimizer.param_groups[0]["lr"] == LR


def test_a_schedule_keeps_the_rates_of_the_layers_apart() -> None:
    model = Layered()
    optimizer = build_optimizer(model, section("AdamW", layer_decay=DECAY))
    Linear(100).apply(optimizer, 25)
    rates = settings_of(model, optimizer, "lr")
    assert rates == pytest.approx({name: 0.75 * LR * DECAY ** (4 - depth) for name, depth in DEPTHS.items()})


def test_a_step_is_that_of_plain_gradient_descent_with_those_rates() -> None:
    model, twin = Layered(), Layered()
    optimizer = build_optimizer(model, section("SGD", layer_decay=DECAY))
    for each in (model, twin):
        for parameter in each.parameters():
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for (name, found), before in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, before - LR * DECAY ** (4 - DEPTHS[name]))


@pytest.mark.parametrize("layer_decay", [None, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_one_and_null_leave_the_groups_as_they_are(layer_decay: float | None, weight_decay: float) -> None:
    model = Layered()
    groups = parameter_groups(model, weight_decay, lr=LR, layer_decay=layer_decay)
    assert [set(group) for group in groups] == ([{"params", "weight_decay"}] * 2 if weight_decay else [{"params"}])
    assert [group.get("weight_decay") for group in groups] == ([0.2, 0.0] if weight_decay else [None])


@pytest.mark.parametrize("layer_decay", [0.0, -0.5, 1.01])
def test_a_share_outside_of_zero_to_one_is_refused(layer_decay: float) -> None:
    with pytest.raises(ValueError) as caught:
        build_optimizer(Layered(), section("Adam", layer_decay=layer_decay))
    assert str(caught.value) == f"layer_decay must be in (0, 1], got {layer_decay}"


def test_a_model_without_layers_is_refused() -> None:
    build_optimizer(Layered(num_layers=0), section("Adam", layer_decay=1.0))
    with pytest.raises(
        ValueError, match=r"^layer_decay needs a model with layers, such as transformer, bert or bilstm$"
    ):
        build_optimizer(Layered(num_layers=0), section("Adam", layer_decay=0.9))


def test_parameters_that_do_not_learn_are_in_no_group() -> None:
    model = Layered()
    model.encoders[0].embedding.requires_grad_(False)
    optimizer = build_optimizer(model, section("Adam", layer_decay=DECAY))
    assert set(settings_of(model, optimizer, "lr")) == set(DEPTHS) - {"encoders.0.embedding.weight"}
