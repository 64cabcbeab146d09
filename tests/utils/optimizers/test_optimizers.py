"""The update of the weights: torch's own numbers, and nothing that is not finite ever reaches a weight."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from utils.config.option_types import convert
from utils.config.schema import options_of
from utils.errors import NonFiniteError
from utils.optimizers.building import OPTIMIZERS, build_optimizer, takes_sparse
from utils.optimizers.parameter_groups import parameter_groups
from utils.training.update import Updater

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
GOOD = torch.tensor(1.0)


def section(name: str, **values: Any) -> dict[str, Any]:
    """A config section of an optimizer with its defaults filled in."""
    defaults = {o.name: convert(o.default, o.type) for o in options_of(OPTIMIZERS[name]).values()}
    return {"name": name, **defaults, **values}


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


class Bag(nn.Module):
    """A table with sparse gradients, or dense ones, before a linear layer."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 3, sparse=sparse)
        self.layer = nn.Linear(3, 2)

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.layer(self.table(ids).sum(dim=1))
        return output


def fill_gradients(model: nn.Module, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * scale


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# Building.


OWN = ("LAMB", "Muon")  # test_lamb_and_muon.py


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in OWN])
def test_every_optimizer_steps_as_torchs_own_does(name: str, weight_decay: float) -> None:
    values = section(name)
    if "weight_decay" in values:
        values["weight_decay"] = weight_decay
    model, twin = small_model(), small_model()
    optimizer = build_optimizer(model, values)
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key != "name"}
    reference = getattr(torch.optim, name)(parameter_groups(twin, weight_decay), **options)
    for scale in (1.0, 0.1, 3.0):
        for each in (model, twin):
            fill_gradients(each, scale)
        Updater(model, optimizer, None).apply(GOOD, lambda: "")
        reference.step()
    for found, expected, before in zip(weights(model), weights(twin), weights(small_model()), strict=True):
        torch.testing.assert_close(found, expected)
        assert not torch.equal(found, before)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if "weight_decay" in section(name)])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    model = small_model()
    optimizer = build_optimizer(model, section(name, lr=0.1, weight_decay=0.5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.5, 0.0, 0.0, 0.0, 0.5, 0.0]


def test_without_a_gradient_only_matrices_shrink() -> None:
    model = small_model()
    before = weights(model)
    optimizer = build_optimizer(model, section("AdamW", lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Updater(model, optimizer, None).apply(GOOD, lambda: "")
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old * (0.95 if parameter.ndim > 1 else 1.0))


def test_frozen_parameters_are_not_the_optimizers() -> None:
    model = small_model()
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, section("Adam", weight_decay=0.1))
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model[1:].parameters()}
    fill_gradients(model)
    Updater(model, optimizer, 1.0).apply(GOOD, lambda: "")
    assert_same(weights(model[0]), weights(small_model()[0]))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("Adam", {"lr": 0.0}, "lr must be positive, got 0.0"),
        ("SGD", {"lr": -1.0}, "lr must be positive, got -1.0"),
        ("Adam", {"betas": [0.9, 1.5]}, "Invalid betas at index 1: 1.5"),
        ("Adam", {"eps": -1.0}, "Invalid eps: -1.0"),
        ("AdamW", {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
    ],
)
def test_a_refused_value_is_named_as_the_option(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        build_optimizer(small_model(), section(name, **values))
    assert str(caught.value) == message


def test_fused_kernels_are_used_where_there_are_some_and_never_on_sparse_gradients() -> None:
    def is_fused(model: nn.Module, name: str) -> list[bool]:
        return [bool(group.get("fused")) for group in build_optimizer(model, section(name)).param_groups]

    assert is_fused(small_model(), "AdamW") == [True, True]
    assert is_fused(small_model(), "RMSprop") == [False]
    assert is_fused(Bag(sparse=True), "Adagrad") == [False]
    assert is_fused(Bag(sparse=False), "Adagrad") == [True]


def test_an_optimizer_without_a_kernel_for_the_model_has_none_in_any_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch writes `fused` into the groups that it is given, even where it then refuses them."""

    class Refusing(torch.optim.Adam):
        def __init__(self, params: Any, *, fused: bool = False, **options: Any) -> None:
            super().__init__(params, fused=fused, **options)
            if fused:
                raise RuntimeError("no kernel here")

    values = section("Adam", weight_decay=0.1)
    monkeypatch.setitem(OPTIMIZERS, "Adam", OPTIMIZERS["Adam"]._replace(build=Refusing))
    optimizer = build_optimizer(small_model(), values)
    assert [group["fused"] for group in optimizer.param_groups] == [False, False]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Adagrad", {}, True),
        ("SGD", {}, True),
        ("SGD", {"momentum": 0.9}, False),
        ("Adagrad", {"weight_decay": 0.1}, False),
        ("Adam", {}, False),
    ],
)
def test_sparse_gradients_are_for_optimizers_that_take_them(name: str, values: dict[str, Any], expected: bool) -> None:
    assert takes_sparse(section(name, **values)) is expected


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad", "RMSprop"])
def test_a_saved_state_goes_on_exactly(name: str) -> None:
    whole, resumed = small_model(), small_model()
    optimizer = build_optimizer(whole, section(name))
    updater = Updater(whole, optimizer, None)
    for step in range(6):
        if step == 3:
            resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
            second = build_optimizer(resumed, section(name))
            second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        fill_gradients(whole, step)
        updater.apply(GOOD, lambda: "")
        if step >= 3:
            fill_gradients(resumed, step)
            Updater(resumed, second, None).apply(GOOD, lambda: "")
    assert_same(weights(resumed), weights(whole))


@pytest.mark.parametrize("is_fused_first", [False, True])
def test_a_run_keeps_its_own_kernels_whatever_the_saved_one_had(is_fused_first: bool) -> None:
    """As when it was saved on a CPU with sparse gradients and goes on where they are dense, or the other way round."""
    bags = {True: Bag(sparse=False), False: Bag(sparse=True)}
    first, second = (build_optimizer(bags[f], section("Adagrad")) for f in (is_fused_first, not is_fused_first))
    second.load_state_dict(first.state_dict())
    bag = bags[not is_fused_first]
    bag(torch.tensor([[1, 2]])).sum().backward()
    Updater(bag, second, 1.0).apply(GOOD, lambda: "")
    assert [bool(group.get("fused")) for group in second.param_groups] == [not is_fused_first]


# Norm and clipping.


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("max_norm", [0.5, 5.0, None])
def test_norm_and_clipping_are_torchs(scale: float, max_norm: float | None) -> None:
    model, twin = small_model(), small_model()
    for each in (model, twin):
        fill_gradients(each, scale)
    norm = Updater(model, torch.optim.SGD(model.parameters(), lr=0.1), max_norm).apply(GOOD, lambda: "")
    expected = nn.utils.clip_grad_norm_(twin.parameters(), math.inf if max_norm is None else max_norm)
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(norm, expected)
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)
        torch.testing.assert_close(parameter, other)  # clipped before the step, not after it


@pytest.mark.parametrize("max_norm", [0.01, 1.0, None])
@pytest.mark.parametrize("name", ["Adagrad", "SGD"])
def test_sparse_and_dense_gradients_make_the_same_update(name: str, max_norm: float | None) -> None:
    models = [Bag(sparse=True), Bag(sparse=False)]
    norms = []
    for model in models:
        updater = Updater(model, build_optimizer(model, section(name, lr=0.5)), max_norm)
        for ids in ([[1, 1, 2], [2, 5, 5]], [[7, 1, 1], [0, 0, 0]]):
            model.zero_grad()
            for row in ids:  # micro-batches with repeated ids: rows that stand twice must be added up before the norm
                (model(torch.tensor([row])).square().sum() * 3).backward()
            norms.append(updater.apply(GOOD, lambda: ""))
    torch.testing.assert_close(norms[:2], norms[2:])
    assert models[0].table.weight.grad.is_sparse
    torch.testing.assert_close(weights(models[0]), weights(models[1]))


# What is not finite.


def poison_gradient(model: nn.Module, value: float) -> Tensor:
    model[2].weight.grad[0, 0] = value
    return GOOD


def poison_sparse(model: nn.Module, value: float) -> Tensor:
    gradient = model.table.weight.grad
    gradient._values()[0, 0] = value
    return GOOD


@pytest.mark.parametrize("max_norm", [1.0, None])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop"])
def test_a_gradient_that_is_not_finite_changes_nothing(name: str, value: float, max_norm: float | None) -> None:
    model = small_model()
    optimizer = build_optimizer(model, section(name))
    updater = Updater(model, optimizer, max_norm)
    fill_gradients(model)
    updater.apply(GOOD, lambda: "step 1")
    before, state = weights(model), copy.deepcopy(optimizer.state_dict())
    fill_gradients(model)
    with pytest.raises(NonFiniteError) as caught:
        updater.apply(poison_gradient(model, value), lambda: "step 2, texts [1, 2]")
    assert str(caught.value) == (
        "step 2, texts [1, 2]: the gradient of 2.weight is not finite; the weights were not changed by it. "
        "Lower optimizer.lr"
    )
    assert_same(weights(model), before)
    assert_equal_states(optimizer.state_dict(), state)


def assert_equal_states(found: Any, expected: Any) -> None:
    assert found["param_groups"] == expected["param_groups"]
    for key, values in expected["state"].items():
        for name, value in values.items():
            assert value is None or torch.equal(found["state"][key][name], value), name


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(value: float) -> None:
    model = small_model()
    updater = Updater(model, build_optimizer(model, section("Adam")), 1.0)
    before = weights(model)
    fill_gradients(model)
    with pytest.raises(NonFiniteError, match=r"^step 1: the loss is not finite; "):
        updater.apply(torch.tensor(value), lambda: "step 1")
    assert_same(weights(model), before)


def test_a_sparse_gradient_that_is_not_finite_is_named() -> None:
    model = Bag(sparse=True)
    updater = Updater(model, build_optimizer(model, section("Adagrad")), 1.0)
    before = weights(model)
    model(torch.tensor([[1, 2]])).sum().backward()
    with pytest.raises(NonFiniteError, match=r"the gradient of table\.weight is not finite"):
        updater.apply(poison_sparse(model, math.nan), lambda: "step 1")
    assert_same(weights(model), before)


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[nn.Module, Any, Updater]]:
    """A model whose fused optimizer skips a bad step by itself, as on CUDA, where the host looks one step later."""
    monkeypatch.setattr(Updater, "is_masked", True)

    def make(name: str) -> tuple[nn.Module, Any, Updater]:
        model = small_model()
        optimizer = build_optimizer(model, section(name))
        return model, optimizer, Updater(model, optimizer, 1.0)

    return make


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_a_masked_step_leaves_weights_and_state_as_they_were(masked: Any, name: str) -> None:
    model, optimizer, updater = masked(name)
    fill_gradients(model)
    updater.apply(GOOD, lambda: "step 1")
    before, state = weights(model), copy.deepcopy(optimizer.state_dict())
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(small_model()), strict=True))
    fill_gradients(model)
    updater.apply(poison_gradient(model, math.nan), lambda: "step 2")
    assert_same(weights(model), before)
    assert_equal_states(optimizer.state_dict(), state)


def test_a_masked_step_is_told_one_step_later_with_its_own_culprit(masked: Any) -> None:
    model, _, updater = masked("Adam")
    fill_gradients(model)
    updater.apply(poison_gradient(model, math.nan), lambda: "step 1")
    before = weights(model)
    fill_gradients(model)
    with pytest.raises(NonFiniteError, match=r"^step 1: the gradient of 2\.weight is not finite"):
        updater.apply(GOOD, lambda: "step 2")
    assert_same(weights(model), before)


def test_a_masked_step_is_told_before_its_weights_are_saved(masked: Any) -> None:
    model, _, updater = masked("Adam")
    fill_gradients(model)
    updater.apply(torch.tensor(math.nan), lambda: "step 1")
    with pytest.raises(NonFiniteError, match=r"^step 1: the loss is not finite"):
        updater.check()
    updater.check()  # once


def test_good_masked_steps_are_the_usual_ones(masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for is_masked in (True, False):
        monkeypatch.setattr(Updater, "is_masked", is_masked)
        model, _, updater = masked("Adam")
        for step in range(3):
            fill_gradients(model, step + 1.0)
            updater.apply(GOOD, lambda: "")
        updater.check()
        results.append(weights(model))
    assert_same(*results)


def test_a_cpu_never_waits_for_the_next_step_to_tell() -> None:
    model = small_model()
    assert not Updater(model, build_optimizer(model, section("Adam")), None).is_masked
