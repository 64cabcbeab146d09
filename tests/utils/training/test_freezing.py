"""What is frozen in which epoch, and that it keeps every bit whatever the optimizer."""

import copy
import warnings
from typing import Any

import pytest
import torch
from layered import Layered, ids
from torch import Tensor, nn

from graphs.models.bag_of_embeddings import BagOfEmbeddings
from graphs.models.bilstm import BiLSTM
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config.option_types import convert
from utils.config.schema import options_of
from utils.optimizers.building import OPTIMIZERS, build_optimizer
from utils.optimizers.parameter_groups import parameter_groups
from utils.training.freezing import Freezing
from utils.training.update import Updater

PARTS = {"embedding", "layers.0", "layers.1", "layers.2", "pooler"}


def frozen(model: nn.Module) -> set[str]:
    """The frozen parts of the encoders: a part is frozen as a whole, the head never."""
    parts: dict[str, set[bool]] = {}
    for name, parameter in model.named_parameters():
        word = name.removeprefix("encoders.0.").replace("_norm", "").rpartition(".")[0]
        parts.setdefault(word, set()).add(parameter.requires_grad)
    assert all(len(flags) == 1 for flags in parts.values()), parts
    assert parts["head.layers.0"] == {True}
    return {part for part, flags in parts.items() if flags == {False}}


def by_epoch(num_epochs: int, **options: Any) -> list[set[str]]:
    model = Layered()
    freezing, found = Freezing(model, **options), []
    for epoch in range(num_epochs):
        freezing.apply(epoch)
        found.append(frozen(model))
    return found


# What is frozen when.


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (0, {"embedding"}),
        (1, {"embedding", "layers.0"}),
        (3, PARTS - {"pooler"}),
        ("all", PARTS),
    ],
)
def test_the_lowest_layers_are_frozen_for_the_whole_run(layers: Any, expected: set[str]) -> None:
    assert by_epoch(3, layers=layers) == [expected] * 3


def test_the_whole_encoder_is_the_default() -> None:
    assert by_epoch(1) == [PARTS]


def test_one_layer_more_learns_every_so_many_epochs_from_the_top() -> None:
    third, second, first = {"embedding", "layers.0", "layers.1"}, {"embedding", "layers.0"}, {"embedding"}
    assert by_epoch(7, unfreeze_every=1) == [PARTS, third, second, first, set(), set(), set()]
    assert by_epoch(6, layers=2, unfreeze_every=1) == [third, second, first, set(), set(), set()]
    assert by_epoch(6, layers=3, unfreeze_every=2) == [PARTS - {"pooler"}] * 2 + [third] * 2 + [second] * 2
    assert by_epoch(4, layers=0, unfreeze_every=3) == [first] * 3 + [set()]


def test_what_is_frozen_depends_on_the_epoch_alone() -> None:
    in_order, model = by_epoch(6, unfreeze_every=1), Layered()
    freezing = Freezing(model, unfreeze_every=1)
    for epoch in (4, 0, 2, 2, 5, 1, 3):
        freezing.apply(epoch)
        assert frozen(model) == in_order[epoch]


def test_the_encoders_of_all_fields_are_frozen_alike() -> None:
    model = Layered(num_encoders=2)
    Freezing(model, layers=1).apply(0)
    flags = [{name: p.requires_grad for name, p in encoder.named_parameters()} for encoder in model.encoders]
    assert flags[0] == flags[1]
    assert not flags[1]["layers.0.weight"]
    assert flags[1]["layers.1.weight"]


def test_what_was_frozen_before_stays_so() -> None:
    model = Layered()
    model.encoders[0].embedding.requires_grad_(False)
    freezing = Freezing(model, layers=1, unfreeze_every=1)
    for epoch in range(4):
        freezing.apply(epoch)
        assert not model.encoders[0].embedding.weight.requires_grad
    assert model.encoders[0].embedding_norm.weight.requires_grad


def classifier(encoder: Any) -> TextClassifier:
    return TextClassifier([encoder], FeedForward(encoder.output_size, 2))


def frozen_names(model: nn.Module) -> set[str]:
    return {
        name.removeprefix("encoders.0.").partition(".")[0]
        for name, p in model.named_parameters()
        if not p.requires_grad
    }


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (0, {"embedding"}),
        (2, {"embedding", "forward_layers", "backward_layers"}),
        ("all", {"embedding", "forward_layers", "backward_layers", "attention"}),
    ],
)
def test_a_bilstm_has_layers_of_two_directions(layers: Any, expected: set[str]) -> None:
    model = classifier(BiLSTM(20, embedding_size=4, hidden_size=3, num_layers=2, pooling="attention"))
    Freezing(model, layers=layers).apply(0)
    assert frozen_names(model) == expected


def test_of_two_lstm_layers_the_lower_one_is_frozen() -> None:
    model = classifier(BiLSTM(20, embedding_size=4, hidden_size=3, num_layers=2))
    Freezing(model, layers=1).apply(0)
    frozen = {name.split(".")[3] for name, p in model.named_parameters() if not p.requires_grad and "_layers" in name}
    assert frozen == {"0"}


@pytest.mark.parametrize("layers", [0, "all"])
def test_a_bag_of_embeddings_has_its_table(layers: Any) -> None:
    model = classifier(BagOfEmbeddings(20, embedding_size=4))
    Freezing(model, layers=layers).apply(0)
    assert frozen_names(model) == {"embedding"}


# What is refused.


class Bare(nn.Module):
    """An encoder under another name, or nothing but one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, nn.ModuleList([nn.Linear(2, 2)]))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Layered(), {"layers": 4}, "layers must be all, or from 0 to 3 (the model has no more), got 4"),
        (Layered(), {"layers": -1}, "layers must be all, or from 0 to 3 (the model has no more), got -1"),
        (Layered(), {"unfreeze_every": 0}, "unfreeze_every must be at least 1, got 0"),
        (
            classifier(BagOfEmbeddings(20)),
            {"layers": 1},
            "layers must be all, or from 0 to 0 (the model has no more), got 1",
        ),
        (Bare("encoders"), {}, "layers: all would freeze all trainable parameters"),
        (Bare("encoders"), {"unfreeze_every": 1}, "layers: all would freeze all trainable parameters"),
        (
            Bare("encoders"),
            {"layers": 0},
            "layers: 0 would freeze nothing: no parameters are named encoders.*.embedding",
        ),
        (Bare("body"), {}, "layers: all would freeze nothing: no parameters are named encoders.*.embedding"),
    ],
)
def test_what_cannot_be_is_refused(model: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Freezing(model, **options)
    assert str(caught.value) == message


def test_a_model_that_learns_nowhere_else_is_refused() -> None:
    model = Layered()
    model.head.requires_grad_(False)
    Freezing(model, layers=3)  # the pooler learns
    with pytest.raises(ValueError, match=r"^layers: all would freeze all trainable parameters$"):
        Freezing(model)


# Training.


def section(name: str, **values: Any) -> dict[str, Any]:
    options = options_of(OPTIMIZERS[name])
    defaults = {o.name: convert(o.default, o.type) for o in options.values()}
    return {"name": name, **defaults, **{key: value for key, value in values.items() if key in options}}


def train(model: nn.Module, optimizer: Any, updater: Updater, freezing: Freezing, epochs: range) -> None:
    """Epochs of three steps."""
    for epoch in epochs:
        freezing.apply(epoch)
        for step in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(run(model, ids(3 * epoch + step)), torch.tensor([0, 1, 0, 1, 1]))
            loss.backward()
            updater.apply(loss.detach(), lambda: "")


def run(model: nn.Module, input_ids: Tensor) -> Tensor:
    is_ours = isinstance(model, TextClassifier)
    return model([{"input_ids": input_ids, "attention_mask": input_ids > 0}]) if is_ours else model(input_ids)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("max_norm", [None, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_weight_keeps_every_bit_and_the_others_learn(name: str, max_norm: float | None) -> None:
    model = Layered()
    optimizer = build_optimizer(model, section(name, lr=0.01, weight_decay=0.1, momentum=0.9, lambd=0.1))
    updater, freezing = Updater(model, optimizer, max_norm), Freezing(model, unfreeze_every=1)
    for epoch in range(5):
        before = weights(model)
        train(model, optimizer, updater, freezing, range(epoch, epoch + 1))
        for parameter_name, parameter in model.named_parameters():
            is_same = torch.equal(parameter, before[parameter_name])
            assert is_same is not parameter.requires_grad, (epoch, parameter_name)
            assert (parameter.grad is None) is not parameter.requires_grad


def test_sparse_adagrad_passes_a_frozen_table_over() -> None:
    model = classifier(BagOfEmbeddings(20, True, embedding_size=4))
    optimizer = build_optimizer(model, section("Adagrad", lr=0.1))
    updater, freezing = Updater(model, optimizer, 1.0), Freezing(model, unfreeze_every=2)
    before = weights(model)
    train(model, optimizer, updater, freezing, range(2))
    assert torch.equal(model.encoders[0].embedding.weight, before["encoders.0.embedding.weight"])
    assert not torch.equal(model.head.layers[0].weight, before["head.layers.0.weight"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about invariants of sparse tensors
        train(model, optimizer, updater, freezing, range(2, 3))
    assert model.encoders[0].embedding.weight.grad.is_sparse
    assert not torch.equal(model.encoders[0].embedding.weight, before["encoders.0.embedding.weight"])


def test_an_updater_that_was_made_while_layers_were_frozen_clips_them_when_they_learn() -> None:
    model = Layered()
    optimizer, freezing = build_optimizer(model, section("SGD", lr=0.1)), Freezing(model, unfreeze_every=1)
    freezing.apply(0)
    updater = Updater(model, optimizer, 0.01)
    train(model, optimizer, updater, freezing, range(4, 5))
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.parameters()]))
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_backward_ends_above_what_is_frozen() -> None:
    model, seen = Layered(), []
    for layer in model.encoders[0].layers:
        layer.register_forward_hook(lambda *values: seen.append(values[-1].requires_grad))
    Freezing(model, layers=2).apply(0)
    model(ids(0)).sum().backward()
    assert seen == [False, False, True]


@pytest.mark.parametrize("more", [{}, {"nesterov": True}, {"dampening": 0.5}, {"dampening": 0.9}], ids=str)
def test_the_momentum_of_what_learns_later_begins_as_in_torchs_plain_loop(more: dict[str, Any]) -> None:
    """Torch's fused kernel, which is ours where there is one, takes the momentum of all parameters or of none."""
    values = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **more}
    model, twin = Layered(), Layered()
    optimizer = build_optimizer(model, section("SGD", **values))
    assert all(group["fused"] for group in optimizer.param_groups)
    plain = torch.optim.SGD(parameter_groups(twin, 0.01), foreach=False, **values)
    for each, own in ((model, optimizer), (twin, plain)):
        train(each, own, Updater(each, own, None), Freezing(each, unfreeze_every=1), range(6))
    torch.testing.assert_close(weights(model), weights(twin))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_run_that_is_taken_up_within_an_epoch_of_any_depth_ends_with_the_same_bits(name: str) -> None:
    values = section(name, lr=0.01, weight_decay=0.1) | {"layer_decay": 0.7}

    def start() -> tuple[Layered, Any, Updater, Freezing]:
        model = Layered()
        optimizer = build_optimizer(model, values)
        return model, optimizer, Updater(model, optimizer, 1.0), Freezing(model, unfreeze_every=1)

    whole = start()
    train(*whole, range(6))
    for epoch in (1, 2, 5):
        first, second = start(), start()
        train(*first, range(epoch))
        second[0].load_state_dict(copy.deepcopy(first[0].state_dict()))
        second[1].load_state_dict(copy.deepcopy(first[1].state_dict()))
        train(*second, range(epoch, 6))
        assert all(torch.equal(a, b) for a, b in zip(second[0].parameters(), whole[0].parameters(), strict=True))
