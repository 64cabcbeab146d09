"""A whole run goes on from a checkpoint as if it had never stopped; what is not its own is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from utils.errors import CheckpointError, NonFiniteError
from utils.optimizers.building import build_optimizer
from utils.runs.checkpoint import CheckpointStore
from utils.runs.checkpointer import Checkpointer
from utils.training.run_state import RunState
from utils.training.update import Updater

FACTS = {"data": "abc", "num_threads": 2}


class Run:
    """A model with dropout, its optimizer and counters."""

    def __init__(self, folder: Path, *, size: int = 8, facts: dict[str, Any] = FACTS) -> None:
        torch.manual_seed(len(list(folder.parent.iterdir())))  # another start draws other numbers
        self.model = nn.Sequential(nn.Linear(4, size), nn.Dropout(0.5), nn.Linear(size, 1))
        self.optimizer = build_optimizer(self.model, {"name": "Adam", "lr": 0.01})
        self.updater = Updater(self.model, self.optimizer, 1.0)
        self.state = RunState()
        parts = {"run": self.state, "optimizer": self.optimizer}
        self.checkpointer = Checkpointer(CheckpointStore(folder), self.model, parts, facts)

    def train(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.optimizer.zero_grad()
            loss = self.model(torch.randn(5, 4)).square().mean()
            loss.backward()
            self.updater.apply(loss.detach(), lambda: "")
            self.state.count_step(0.0, 5, 20)

    def save(self) -> None:
        self.checkpointer.save(self.state.step, best_step=0)


def test_a_resumed_run_is_bit_equal_to_one_that_never_stopped(tmp_path: Path) -> None:
    whole = Run(tmp_path / "run")
    whole.train(3)
    whole.save()
    whole.train(4)
    for start in range(2):  # twice from the same place
        (tmp_path / f"start-{start}").touch()
        resumed = Run(tmp_path / "run")
        assert resumed.checkpointer.restore()
        assert resumed.state.step == 3
        resumed.train(4)
        assert resumed.state == whole.state
        for name, value in whole.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], value), name


def test_without_a_checkpoint_nothing_is_restored(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert not run.checkpointer.restore()
    assert run.state == RunState()


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    before = (tmp_path / "run/step-1/MANIFEST.json").stat()
    run.save()
    again = Run(tmp_path / "run")
    again.checkpointer.restore()
    again.save()
    assert (tmp_path / "run/step-1/MANIFEST.json").stat().st_mtime_ns == before.st_mtime_ns


def test_a_step_that_was_validated_after_its_save_is_saved_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    run.state.observe(0.5)
    run.checkpointer.save(1, best_step=1, is_changed=True)
    again = Run(tmp_path / "run")
    again.checkpointer.restore()
    assert again.state.validated_step == 1
    manifest = again.checkpointer.store.latest()
    assert manifest is not None
    assert manifest["best_step"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    run.train(1)
    with torch.no_grad():
        run.model[2].bias.fill_(value)
    with pytest.raises(NonFiniteError, match=r"^step 2: 2\.bias is not finite any more"):
        run.save()
    assert run.checkpointer.store.steps() == [1]


def test_the_weights_of_the_best_step_come_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    best = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train(1)
    run.checkpointer.load_weights(1)
    assert all(torch.equal(run.model.state_dict()[name], value) for name, value in best.items())


def test_another_machine_warns_and_other_data_refuses(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    other = Run(tmp_path / "run", facts=FACTS | {"num_threads": 4})
    assert other.checkpointer.restore()
    assert other.checkpointer.store.warnings == ["num_threads was 2 and is 4: the resumed run is not bit-exact"]
    with pytest.raises(CheckpointError, match=r"belongs to other data \(abc there, xyz now\)"):
        Run(tmp_path / "run", facts=FACTS | {"data": "xyz"}).checkpointer.restore()


def test_weights_of_another_model_are_refused_in_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(1)
    run.save()
    other = Run(tmp_path / "run", size=9)
    for read in (other.checkpointer.restore, lambda: other.checkpointer.load_weights(1)):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert "step-1: belongs to another model or another version of this code (misshaped: 0." in str(caught.value)
        assert "0.weight float32 [8, 4], not float32 [9, 4]" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "state", [{}, {"run": {"colour": 3}}, {"run": {}, "optimizer": {}}, {"run": {}, "optimizer": 3}]
)
def test_a_state_of_another_version_is_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    run = Run(tmp_path / "run")
    run.checkpointer.store.save(1, 0, run.model.state_dict(), state, FACTS)
    with pytest.raises(
        CheckpointError, match=r"step-1: belongs to another model or another version of this code \(\w+Error"
    ):
        run.checkpointer.restore()
