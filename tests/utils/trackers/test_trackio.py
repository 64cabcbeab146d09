"""trackio beside TensorBoard: it gets every point once, however often the run was killed, and is never the cause of an end."""

import importlib.util
import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_refused

from utils.runs import run_log
from utils.runs.run_log import RunLog
from utils.trackers.trackio import Trackio

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trackio writes, instead of in the user's home; told to it before it is imported, and after."""
    import trackio

    folder = tmp_path / "trackio"
    folder.mkdir()
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    for module in (trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder)
    return folder / "glassbox.db"


def points(database: Path, tag: str) -> list[tuple[int, Any]]:
    """(step, value) of a curve, read with SQLite alone."""
    with sqlite3.connect(database) as connection:
        found = connection.execute("select step, metrics from metrics order by id").fetchall()
    return [(step, json.loads(values)[tag]) for step, values in found if tag in json.loads(values)]


def test_a_run_shows_its_curves_tables_and_images(run: Run, workplace: Path, database: Path) -> None:
    first = run("tiny.yaml", "tracker.name=trackio", "train.num_epochs=1", "train.log_every=2", "name=a")
    assert first.returncode == 0, first.stderr
    assert "rackio" not in first.stdout
    assert run("tiny.yaml", "tracker.name=trackio", "train.num_epochs=2", "train.log_every=2", "name=a").returncode == 0
    lines = [json.loads(line) for line in (workplace / "experiments/a/metrics.jsonl").read_text().splitlines()]
    for split in ("train", "valid"):
        logged = [(line["step"], line["loss"]) for line in lines if line["split"] == split]
        assert dict(points(database, f"{split}/loss")) == pytest.approx(dict(logged))
        assert len(logged) >= 2
    (test,) = [line for line in lines if line["split"] == "test"]
    assert points(database, "with_best_weights/test_accuracy")[-1] == (test["step"], pytest.approx(test["accuracy"]))
    (_, image), *_ = points(database, "test/confusion_matrix")
    assert image["_type"] == "trackio.image"
    assert list(database.parent.rglob("*.png"))
    (_, table), *_ = points(database, "test/mistakes")
    assert table["_type"] == "trackio.markdown"


def test_what_a_killed_start_wrote_is_not_written_again(tmp_path: Path, database: Path) -> None:
    for step, last in ((0, 8), (4, 12)):
        log = RunLog(tmp_path)
        log.add_tracker("trackio", Trackio("a"))
        log.open_at(step, {"optimizer.lr": 0.1})
        for i in range(step + 1, last + 1):
            log.scalars("train", {"loss": 1 / i}, i)
        log.close()
    found = points(database, "train/loss")
    assert [step for step, _ in found] == [*range(1, 9), *range(8, 13)]  # step 8 might have been logged in part
    assert dict(found) == pytest.approx({i: 1 / i for i in range(1, 13)})


class Failing:
    """A tracker of which one method fails."""

    def __init__(self, method: str) -> None:
        self.method, self.calls = method, list[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> None:
            self.calls.append(name)
            if name == self.method:
                raise RuntimeError("no answer")

        return call


@pytest.mark.parametrize("method", ["open", "scalars", "text", "image", "finish"])
def test_a_tracker_that_fails_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    said = list[str]()
    monkeypatch.setattr(run_log.logger, "warning", lambda text, *values: said.append(text % values))
    log, tracker = RunLog(tmp_path), Failing(method)
    log.add_tracker("other", tracker)
    log.open_at(0, {})
    matrix = {"labels": ["a", "b"], "matrix": [[1, 0], [0, 1]]}
    for step in (1, 2):
        log.scalars("train", {"loss": 1.0}, step)
        log.report({"test": {"accuracy": 1.0, "confusion_matrix": matrix}}, step)
        log.table("t", ["a"], [["b"]], step)
    log.close()
    assert said == ["warning: other cannot be written (no answer); continuing without it"]
    assert tracker.calls.count(method) == 1
    assert tracker.calls[-1] == method
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_without_the_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install trackio"):
        Trackio("a")


def test_an_unknown_tracker_is_refused(run: Run) -> None:
    assert_refused(run("tiny.yaml", "tracker.name=wandb"), 2, "tracker.name", "'wandb' is unknown", "trackio")
