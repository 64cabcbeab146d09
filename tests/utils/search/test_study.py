"""A study: each trial once, whoever runs it; the same proposals after any resume; what a killed owner leaves."""

import multiprocessing
from pathlib import Path
from typing import Any

import optuna
import pytest

from utils.errors import ConfigError, StorageError
from utils.files.storage import locked
from utils.search.distributions import decoded, encoded
from utils.search.settings import Space, SweepSettings
from utils.search.study import Owned, Study, storage_errors
from utils.search.trials import validations

SPACE = {"lr": Space("log", [1e-4, 1.0]), "size": Space("int", [1, 9]), "kind": Space("choice", ["a", [1, 2], None])}


HELD: list[Owned] = []


def study(num_trials: int = 4, sampler: Any = "random", space: dict[str, Space] = SPACE, **rest: Any) -> Study:
    settings = SweepSettings(
        config="c.yaml", name="s", space={"a": 1}, trials=num_trials, sampler=sampler, pruner="none"
    )
    return Study(settings, space, {"config": 1, **rest}, is_better_more=True)


def taken(found: Study) -> Owned:
    owned = found.take()
    assert owned is not None
    HELD.append(owned)  # one that nobody holds is anybody's
    return owned


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_as_many_trials_as_asked() -> None:
    one, other = study(), study()
    owned = [taken(one), taken(other), taken(one), taken(other)]
    assert [each.name for each in owned] == [f"s-trial{i}" for i in range(4)]
    assert one.take() is None
    assert not one.is_over
    for value, each in enumerate(owned[:3]):
        one.complete(each, value)
    other.fail(owned[3], "no memory")
    assert one.is_over
    assert one.take() is None
    assert [trial.number for trial in other.ranked] == [2, 1, 0]
    assert one.options(other.ranked[0]) == owned[2].options


def test_values_lie_in_the_space() -> None:
    found = study(40)
    options = [taken(found).options for _ in range(40)]
    assert all(1e-4 <= own["lr"] <= 1.0 and 1 <= own["size"] <= 9 for own in options)
    assert {str(own["kind"]) for own in options} == {"a", "[1, 2]", "None"}
    assert len({own["lr"] for own in options}) == 40
    assert sum(own["lr"] < 1e-2 for own in options) > 10  # half of them, on a logarithmic scale


def test_proposals_are_the_same_after_a_restart() -> None:
    found = study(3)
    first = [taken(found) for _ in range(3)]
    for owned in first:
        found.release(owned)
    Path("experiments/s-study.db").unlink()
    again = [taken(study(3)) for _ in range(3)]  # by a process for each
    assert [owned.options for owned in first] == [owned.options for owned in again]


def test_a_grid_has_each_combination_once() -> None:
    space = {"a": Space("choice", [1, 2]), "b": Space("choice", ["x", "y", [0]])}
    settings = SweepSettings(config="c.yaml", name="s", space={"a": 1}, sampler="grid")
    found = Study(settings, space, {}, is_better_more=True)
    options = set()
    for value in range(6):
        owned = taken(found)
        options.add(str(owned.options))
        found.complete(owned, value)
    assert len(options) == 6
    assert found.take() is None
    assert found.is_over


def owner(number: int, ready: Any) -> None:
    taken(study())
    ready.set()
    multiprocessing.Event().wait()


def test_a_killed_owners_trial_is_taken_up() -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=owner, args=(0, ready))
    process.start()
    assert ready.wait(60)
    found = study()
    assert taken(found).name == "s-trial1"  # the first one has an owner
    process.kill()
    process.join()
    again = taken(found)
    assert (again.name, again.starts) == ("s-trial0", 2)
    assert len(found.trials) == 2


def test_a_run_that_outlives_its_owner_is_waited_for() -> None:
    found = study(1)
    found.release(taken(found))
    lock = locked(Path("experiments/.s-trial0.lock"))  # as its run holds it
    assert lock is not None
    assert found.take() is None
    lock.release()
    assert taken(found).name == "s-trial0"


def test_options_that_a_killed_owner_left_out_are_chosen() -> None:
    """Killed between the trial's beginning and its last option."""
    found = study(1)
    trial = found.study.ask()
    trial._suggest("lr", found.space["lr"])
    owned = taken(found)
    assert owned.trial.number == 0
    assert owned.options["lr"] == trial.params["lr"]
    assert set(owned.options) == set(SPACE)


def test_a_half_begun_trial_of_a_grid_gets_its_own_combination() -> None:
    """Killed after the trial has its place in the grid, and before it has the options of it."""
    found = study(30, "grid", {"a": Space("choice", list(range(30)))})
    with found._sampling(0):
        found.study.ask()
    assert {taken(found).options["a"] for _ in range(30)} == set(range(30))


def test_another_study_is_not_mixed_in() -> None:
    study()
    with pytest.raises(ConfigError, match=r"is another study \(other: None -> 2\); give this one another name"):
        study(other=2)
    assert len(study(9).trials) == 0  # more trials are no other study
    settings = SweepSettings(config="c.yaml", name="s", space={"a": 1}, trials=1)
    Study(settings, SPACE, {"config": 2}, is_better_more=True, is_fresh=True)


@pytest.mark.parametrize("url", ["sqlite:///no/such/folder/x.db", "nonsense", "postgresql://localhost/x"])
def test_a_storage_that_cannot_be_opened(url: str) -> None:
    settings = SweepSettings(config="c.yaml", name="s", space={"a": 1}, trials=1)
    with pytest.raises(StorageError, match="cannot be opened"):
        Study(settings, SPACE, {}, is_better_more=True, storage=url)


def test_a_grid_has_no_more_trials_than_combinations() -> None:
    assert study(9, "grid", {"a": Space("choice", [1, 2, 3])}).num_trials == 3
    Path("experiments/s-study.db").unlink()
    assert study(2, "grid", {"a": Space("choice", [1, 2, 3])}).num_trials == 2


def test_a_storage_that_fails_in_between() -> None:
    with pytest.raises(StorageError, match="the disk is full"), storage_errors():
        raise optuna.exceptions.StorageInternalError("the disk\n is full")


@pytest.mark.parametrize("value", [1, 1.5, "a", None, True, [1, "b"], {"name": "x"}])
def test_choices_of_any_kind(value: Any) -> None:
    assert decoded(encoded(value)) == value


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    assert validations(tmp_path, "accuracy") == []
    lines = [
        '{"step": 1, "split": "train", "loss": 1}',
        '{"step": 2, "split": "valid", "accuracy": 0.5}',
        '{"step": 3, "spl',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert validations(tmp_path, "accuracy") == [0.5]
