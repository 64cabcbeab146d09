"""The averaged weights are the formula's, they are what is evaluated and kept, and training never sees them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from utils.errors import CheckpointError, NonFiniteError
from utils.machine.reproducibility import rng_state
from utils.optimizers.building import build_optimizer
from utils.runs.checkpoint import CheckpointStore
from utils.runs.checkpointer import Checkpointer
from utils.training.run_state import RunState
from utils.training.update import Updater
from utils.training.weight_average import WeightAverage


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def move(model: nn.Module) -> None:
    """As an optimizer does: every trainable weight goes elsewhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def averaged(average: WeightAverage, model: nn.Module) -> dict[str, Tensor]:
    with average.applied():
        return weights(model)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_the_average_is_that_of_the_formula(decay: float) -> None:
    torch.manual_seed(0)
    model = small_model()
    average = WeightAverage(model, decay=decay)
    expected: dict[str, Tensor] = {}
    for t in range(60):
        move(model)
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        for name, parameter in model.named_parameters():
            value = parameter.detach().double()
            expected[name] = d * expected.get(name, value) + (1 - d) * value
    found = averaged(average, model)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)
        assert (found[name] - model.state_dict()[name]).abs().max() > 0.1, "far from the raw weights, or it says little"


def test_training_gets_its_own_weights_back_to_the_bit_whatever_happens() -> None:
    model = small_model()
    average = WeightAverage(model, decay=0.9)
    for _ in range(3):
        move(model)
        average.update()
    raw, places = weights(model), [p.data_ptr() for p in model.parameters()]
    assert not torch.equal(averaged(average, model)["2.weight"], raw["2.weight"])
    with pytest.raises(RuntimeError, match="in the middle"), average.applied():
        raise RuntimeError("in the middle")
    assert_same(weights(model), raw)
    assert [p.data_ptr() for p in model.parameters()] == places


def test_buffers_are_not_averaged() -> None:
    model = small_model()
    average = WeightAverage(model, decay=0.9)
    average.update()
    model[1].running_mean.fill_(7.0)
    average.update()
    assert averaged(average, model)["1.running_mean"].tolist() == [7.0] * 3


def test_frozen_weights_take_no_room_and_begin_when_they_are_trained() -> None:
    model = small_model()
    model[0].requires_grad_(False)
    frozen = weights(model[0])
    average = WeightAverage(model, decay=0.9)
    for _ in range(5):
        move(model)
        average.update()
    assert sorted(average.other) == ["1.bias", "1.weight", "2.bias", "2.weight"]
    assert_same({name: averaged(average, model)[f"0.{name}"] for name in frozen}, frozen)
    model[0].requires_grad_(True)
    move(model)
    average.update()
    assert_same({name: averaged(average, model)[f"0.{name}"] for name in frozen}, weights(model[0]))


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2.0])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"^decay must be between 0 and 1, got {decay}$"):
        WeightAverage(small_model(), decay=decay)


def test_a_table_with_sparse_gradients_is_refused() -> None:
    with pytest.raises(ValueError, match="have sparse gradients, and an average would update all their rows"):
        WeightAverage(nn.Sequential(nn.Embedding(9, 2, sparse=True)))
    WeightAverage(nn.Sequential(nn.Embedding(9, 2)))


# In a checkpoint.


class Run:
    """A model, its optimizer, counters and average."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(len(list(folder.parent.iterdir())))  # another start draws other numbers
        self.model = small_model()
        self.average = WeightAverage(self.model, decay=0.9)
        self.optimizer = build_optimizer(self.model, {"name": "Adam", "lr": 0.05})
        self.updater = Updater(self.model, self.optimizer, 1.0, average=self.average)
        self.state = RunState()
        parts = {"run": self.state, "optimizer": self.optimizer}
        self.checkpointer = Checkpointer(CheckpointStore(folder), self.model, parts, {}, self.average)

    def train(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.optimizer.zero_grad()
            loss = self.model(torch.randn(5, 4)).square().mean()
            loss.backward()
            self.updater.apply(loss.detach(), lambda: "")
            self.state.count_step(0.0, 5, 20)

    def save(self) -> None:
        self.checkpointer.save(self.state.step, best_step=self.state.step)


def test_a_resumed_run_has_the_raw_weights_and_the_average_to_the_bit(tmp_path: Path) -> None:
    whole = Run(tmp_path / "run")
    whole.train(3)
    whole.save()
    whole.train(4)
    (tmp_path / "another start").touch()
    resumed = Run(tmp_path / "run")
    assert resumed.checkpointer.restore()
    resumed.train(4)
    assert resumed.average.step == whole.average.step == 7
    assert_same(weights(resumed.model), weights(whole.model))
    assert_same(averaged(resumed.average, resumed.model), averaged(whole.average, whole.model))


def test_the_file_of_weights_holds_the_averaged_ones_and_saving_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(5)
    raw, mean = weights(run.model), averaged(run.average, run.model)
    run.save()
    assert_same(load_file(tmp_path / "run/step-5/model.safetensors"), mean)
    assert_same(weights(run.model), raw)
    assert not torch.equal(raw["2.weight"], mean["2.weight"])
    run.checkpointer.load_weights(5)
    assert_same(weights(run.model), mean)


def test_what_was_once_not_finite_is_not_saved(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    with torch.no_grad():
        run.model[2].bias.fill_(torch.inf)
    run.average.update()
    with torch.no_grad():
        run.model[2].bias.fill_(0.0)
    with pytest.raises(NonFiniteError, match=r"2\.bias is not finite any more"):
        run.save()


@pytest.mark.parametrize(
    "change",
    [
        {"step": -10},
        {"raw": {"2.bias": torch.zeros(2)}},
        {"raw": {"2.bias": torch.tensor([torch.nan])}},
        {"raw": {"2.bias": torch.zeros(1, dtype=torch.float64)}},
        {"raw": {"3.bias": torch.zeros(1)}},
        {"raw": 3},
    ],
)
def test_a_state_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    parts = {name: part.state_dict() for name, part in run.checkpointer.parts.items()}
    store, model = run.checkpointer.store, run.model.state_dict()
    store.save(1, 0, model, parts | {"rng": rng_state()}, {})
    assert Run(tmp_path / "run").checkpointer.restore()
    store.save(1, 0, model, parts | {"average": parts["average"] | change, "rng": rng_state()}, {})
    with pytest.raises(CheckpointError, match="step-1: belongs to another model or another version of this code"):
        Run(tmp_path / "run").checkpointer.restore()


# The mean of the last moments.


def test_the_last_moments_have_the_same_weight() -> None:
    model = small_model()
    average = WeightAverage(model, last=3, every=4)
    seen: list[dict[str, Tensor]] = []
    for step in range(1, 27):
        move(model)
        average.update()
        seen += [weights(model)] * (step % 4 == 0)
        if step == 3:
            assert_same(averaged(average, model), weights(model))
    found = averaged(average, model)
    for name, _ in model.named_parameters():
        expected = torch.stack([each[name].double() for each in seen[-3:]]).mean(dim=0)
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-6, atol=1e-6)


def test_the_last_moments_come_back_with_a_checkpoint() -> None:
    models = small_model(), small_model()
    one, two = (WeightAverage(model, last=2, every=3) for model in models)
    for _ in range(8):
        move(models[0])
        one.update()
    with one.applied():
        models[1].load_state_dict(models[0].state_dict())
        two.load_state_dict(copy.deepcopy(one.state_dict()))  # as from a file
    assert_same(weights(models[1]), weights(models[0]))
    for model, average in zip(models, (one, two), strict=True):
        torch.manual_seed(1)
        for _ in range(4):
            move(model)
            average.update()
    assert_same(averaged(two, models[1]), averaged(one, models[0]))


@pytest.mark.parametrize(
    ("options", "message"), [({"last": 0}, "last must"), ({"every": 0}, "every must"), ({"every": 2}, "every")]
)
def test_bad_moments_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightAverage(small_model(), **options)  # type: ignore[arg-type]
