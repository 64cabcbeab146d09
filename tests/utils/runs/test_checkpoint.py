"""Checkpoints: bit-equal, durable in the right order, and no damage of any kind is ever loaded as if it were whole."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import record

from utils.errors import StorageError
from utils.files import storage
from utils.runs import checkpoint
from utils.runs.checkpoint import MANIFEST, MODEL, STATE, CheckpointStore, load_weights

FILES = [MODEL, STATE, MANIFEST]
FACTS = {"data": "abc", "num_threads": 2}


def weights_of(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {"a.weight": torch.randn(3, 2, generator=generator), "b": torch.randn(5, generator=generator).half()}


def state_of(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(-step)
    return {"run": {"step": step, "best": -1e300, "name": "ü"}, "rng": generator.get_state(), "none": None}


def save(store: CheckpointStore, step: int, best_step: int = 0) -> None:
    store.save(step, best_step, weights_of(step), state_of(step), FACTS)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """A store with steps 1 and 2."""
    store = CheckpointStore(tmp_path / "checkpoints")
    save(store, 1)
    save(store, 2)
    return store


def assert_holds(store: CheckpointStore, step: int) -> None:
    """That the step loads, with the very bits that were saved."""
    weights, state, manifest = store.load(step)
    expected = weights_of(step)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert all(weights[name].dtype == expected[name].dtype for name in expected)
    assert torch.equal(state.pop("rng"), state_of(step)["rng"])
    assert state == {key: value for key, value in state_of(step).items() if key != "rng"}
    assert (manifest["step"], manifest["facts"]) == (step, FACTS)


# Save and load.


def test_what_is_saved_is_loaded_bit_by_bit(store: CheckpointStore) -> None:
    for step in (1, 2):
        assert_holds(store, step)
        assert torch.equal(load_weights(store.folder / f"step-{step}")["b"], weights_of(step)["b"])
    assert sorted(path.name for path in (store.folder / "step-1").iterdir()) == sorted(FILES)


def test_the_newest_is_the_highest_step_and_not_the_latest_time(store: CheckpointStore) -> None:
    save(store, 10)
    os.utime(store.folder / "step-2")
    (store.folder / "step-²").mkdir()
    (store.folder / "step-x").mkdir()
    manifest = store.latest()
    assert manifest is not None
    assert manifest["step"] == 10
    assert store.warnings == []


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "nowhere").latest() is None


def test_tied_weights_and_views_are_saved_whole(tmp_path: Path) -> None:
    table = torch.randn(4, 6)
    weights = {"input": table, "output": table, "transposed": table.t(), "row": table[1], "scalar": torch.tensor(3)}
    store = CheckpointStore(tmp_path)
    store.save(1, 0, weights, {}, {})
    loaded = store.load(1)[0]
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_saving_does_not_keep_hold_of_the_weights(tmp_path: Path) -> None:
    weights = weights_of(1)
    store = CheckpointStore(tmp_path)
    store.save(1, 0, weights, state_of(1), FACTS)
    weights["b"].zero_()
    assert_holds(store, 1)


# Retention and order.


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_and_the_best_are_kept(tmp_path: Path, keep: int) -> None:
    store = CheckpointStore(tmp_path, keep=keep)
    for step in range(1, 9):
        save(store, step, best_step=min(step, 3))
        assert store.steps() == sorted({min(step, 3), *range(max(1, step - keep + 1), step + 1)})
    for step in store.steps():
        assert_holds(store, step)


def test_a_damaged_later_step_does_not_take_the_place_of_a_good_one(store: CheckpointStore) -> None:
    save(store, 9)
    (store.folder / "step-9" / MODEL).unlink()
    for step in (3, 4):
        save(store, step)
    assert store.steps() == [3, 4, 9]
    assert_holds(store, 3)


def test_a_damaged_step_in_the_way_is_moved_aside(store: CheckpointStore) -> None:
    for _ in range(2):  # what was moved aside before makes room
        (store.folder / "step-2" / STATE).write_bytes(b"damaged")
        save(store, 2)
        assert_holds(store, 2)
        assert (store.folder / "damaged-step-2" / STATE).read_bytes() == b"damaged"
    assert store.steps() == [1, 2]


def test_an_undamaged_step_in_the_way_is_replaced(store: CheckpointStore) -> None:
    store.save(2, 0, weights_of(7), state_of(7), FACTS)
    assert torch.equal(store.load(2)[0]["b"], weights_of(7)["b"])
    assert sorted(path.name for path in store.folder.iterdir()) == ["step-1", "step-2"]


def test_all_is_on_the_disk_before_the_name_and_the_name_before_the_old_goes(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record(monkeypatch, store.folder)
    save(store, 3)
    assert calls == [
        *[f"fsync {name}" for name in (MODEL, STATE, MANIFEST, ".tmp-step-3")],
        "rename .tmp-step-3 step-3",
        "fsync checkpoints",
        "rename step-1 .tmp-old-step-1",
        "remove .tmp-old-step-1",
    ]


# Full disks, kills, and disks that fail.


@pytest.mark.parametrize("moment", range(6))
def test_a_failing_disk_costs_no_checkpoint(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The four fsyncs, the rename and the fsync of the folder fail, each in turn."""
    fail_at(monkeypatch, moment)
    with pytest.raises(StorageError, match=r"cannot be written: No space left on device \([0-9,]+ bytes needed, "):
        save(store, 3)
    monkeypatch.undo()
    assert not list(store.folder.glob(".tmp-*"))
    for step in store.steps():
        assert_holds(store, step)
    assert {1, 2} <= set(store.steps()), "nothing is removed before the new one is on the disk"
    save(store, 4)
    assert not list(store.folder.glob(".tmp-*"))


def fail_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """From now on let `moment` fsyncs and renames pass, and no more."""
    num_calls = 0

    def limited(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            nonlocal num_calls
            num_calls += 1
            if num_calls > moment:
                raise OSError(28, "No space left on device")
            return original(*arguments)

        monkeypatch.setattr(owner, name, call)

    limited(os, "fsync")
    limited(Path, "rename")


def test_too_little_room_is_told_before_anything_is_written(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "free_bytes", lambda path: 1000)
    with pytest.raises(StorageError, match=r"step-3: cannot be written: [0-9,]+ bytes needed, 1,000 free$"):
        save(store, 3)
    assert sorted(path.name for path in store.folder.iterdir()) == ["step-1", "step-2"]


def test_a_kill_while_saving_leaves_what_was_there_and_the_next_save_sweeps(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(folder: Path) -> None:
        shutil.copytree(folder, folder.with_name(".tmp-step-3-0123456789abcdef"))  # what no `finally` removes
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "sync_folder", kill)
    with pytest.raises(KeyboardInterrupt):
        save(store, 3)
    monkeypatch.undo()
    assert len(list(store.folder.glob(".tmp-step-3-*"))) == 1
    assert store.steps() == [1, 2]
    save(store, 3)
    assert not list(store.folder.glob(".tmp-*"))
    assert_holds(store, 3)


def test_what_cannot_be_removed_does_not_end_the_run(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint, "remove", fail)
    save(store, 3)
    assert store.steps() == [1, 2, 3]
    monkeypatch.setattr(checkpoint, "remove", storage.remove)
    save(store, 4)
    assert store.steps() == [3, 4]


@pytest.mark.parametrize("name", [MANIFEST, MODEL, STATE, "the folder"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_checkpoint_that_cannot_be_read_now_is_not_passed_over(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """A start would go on from the one before, or begin again, and a save would move it aside."""

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if Path(path).name == ("checkpoints" if name == "the folder" else name):
                raise OSError(code, os.strerror(code), str(path))
            return function(path, *arguments, **options)

        return call

    before = sorted(store.folder.rglob("*"))
    with monkeypatch.context() as patch:
        # Path.iterdir calls listdir before Python 3.13, and scandir since.
        for function in ("listdir", "scandir") if name == "the folder" else ("open",):
            patch.setattr(os, function, failing(getattr(os, function)))
        with pytest.raises(StorageError, match=f"cannot be read now: {os.strerror(code)}$"):
            store.latest()
        if name != "the folder":
            with pytest.raises(StorageError):
                store._move_aside(store.folder / "step-2")
    assert sorted(store.folder.rglob("*")) == before
    assert store.latest() is not None
    assert store.warnings == []
