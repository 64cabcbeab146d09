"""`board`: the real TensorBoard over real runs, its runs of several seeds, and what it is asked for in vain."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from main import main

NAMES = ["tiny-seed1", "tiny-seed2"]


@pytest.fixture
def runs(workplace: Path) -> Path:
    for seed, name in enumerate(NAMES, 1):
        assert main(["tiny.yaml", "train.num_epochs=3", f"seed={seed}", f"name={name}"]) == 0
    assert main(["tiny.yaml", "train.num_epochs=3", "optimizer.lr=0.02", "train.max_grad_norm=1.0", "name=other"]) == 0
    return workplace / "experiments"


def asked(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data, head = (None, {}) if body is None else (json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(urllib.request.Request(address + path, data, head), timeout=30) as answer:
        return json.load(answer)


def waited_for(address: str, run: str, tag: str) -> list[list[float]]:
    """The points of a scalar, once TensorBoard has read them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        tags = asked(address, "data/plugin/scalars/tags")
        if tag in tags.get(run, {}):
            return list(asked(address, f"data/plugin/scalars/scalars?run={run.replace('/', '%2F')}&tag={tag}"))
        time.sleep(0.3)
    raise AssertionError(f"{run} has no {tag}")


def test_tensorboard_shows_the_runs_and_the_band_of_their_seeds(runs: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "board"], cwd=runs.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("TensorBoard: http://localhost:"), process.stderr and process.stderr.read()
        address = line.split()[1]
        lines = [[json.loads(row) for row in (runs / n / "metrics.jsonl").read_text().splitlines()] for n in NAMES]
        losses = np.array([[row["loss"] for row in own if row["split"] == "valid"] for own in lines])
        for tag, expected in (
            ("valid/loss", losses.mean(axis=0)),
            ("valid_low/loss", losses.min(axis=0)),
            ("valid_high/loss", losses.max(axis=0)),
        ):
            found = [point[2] for point in waited_for(address, "seeds/tiny", tag)]
            assert found == pytest.approx(expected.tolist(), abs=1e-4)
        assert [point[2] for point in waited_for(address, NAMES[0], "valid/loss")] == pytest.approx(losses[0].tolist())
        assert set(asked(address, "data/runs")) == {*NAMES, "other", "seeds/tiny", "seeds/columns"}
        layout = asked(address, "data/plugin/custom_scalars/layout")
        titles = [chart["title"] for category in layout["category"] for chart in category["chart"]]
        assert titles == ["loss", "accuracy", "learning rate", "throughput", "loss, seeds", "accuracy, seeds"]
        shown = asked(address, "data/plugin/hparams/experiment", {"experimentName": ""})
        types = {info["name"]: info["type"] for info in shown["hparamInfos"]}
        assert types == dict.fromkeys(["optimizer.lr", "train.max_grad_norm", "seed"], "DATA_TYPE_FLOAT64"), (
            "what differs"
        )
        names = ["with_best_weights/test_accuracy", "with_best_weights/test_loss"]
        columns = [{"hparam": name} for name in types] + [{"metric": {"tag": name}} for name in names]
        states = ["STATUS_UNKNOWN", "STATUS_RUNNING", "STATUS_SUCCESS", "STATUS_FAILURE"]
        body = {"experimentName": "", "allowedStatuses": states, "colParams": columns, "startIndex": 0, "sliceSize": 9}
        rows = asked(address, "data/plugin/hparams/session_groups", body)["sessionGroups"]
        found = {row["name"]: row for row in rows}
        assert set(found) == {*NAMES, "other"}, "no run is hidden"
        assert found["other"]["hparams"]["optimizer.lr"] == 0.02
        report = json.loads((runs / "other" / "report.json").read_text())
        values = {value["name"]["tag"]: value["value"] for value in found["other"]["metricValues"]}
        assert values[names[0]] == pytest.approx(report["test"]["accuracy"])
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[0] == "3 finished runs, 0 unfinished, 1 groups of seeds"
    assert errors.splitlines()[-1] == "TensorBoard has ended"
    assert "Traceback" not in errors


def test_a_run_named_like_the_groups_is_left_alone(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As experiments/seeds or as the folder within it; a run that would be claimed over the groups is refused."""
    monkeypatch.setattr("commands.board.launched", lambda *_: "http://localhost:1")
    monkeypatch.setattr("threading.Event.wait", lambda _: None)
    for name in NAMES:
        (runs / name).rename(runs / name.replace("tiny", "columns"))
    capsys.readouterr()
    assert main(["board"]) == 0
    assert "1 groups of seeds" in capsys.readouterr().err
    assert sorted(path.name for path in (runs / "seeds").iterdir()) == ["columns", "columns-seeds"]
    means = EventAccumulator(str(runs / "seeds" / "columns-seeds")).Reload()
    assert "valid/loss" in means.Tags()["scalars"]
    assert main(["tiny.yaml", "name=seeds"]) == 5
    assert "experiments/seeds: holds files but no config.yaml" in capsys.readouterr().err.splitlines()[-1]
    shutil.rmtree(runs / "seeds")
    (runs / "other").rename(runs / "seeds")
    before = sorted(path.name for path in (runs / "seeds").iterdir())
    assert main(["board"]) == 0
    err = capsys.readouterr().err
    assert "experiments/seeds is a run, so no groups of seeds are written there; rename its folder" in err
    assert "3 finished runs, 0 unfinished, 0 groups of seeds" in err
    assert sorted(path.name for path in (runs / "seeds").iterdir()) == before


def test_a_group_is_written_once_and_removed_with_its_runs(runs: Path) -> None:
    from utils.analysis.finding import find_runs
    from utils.analysis.group_log import write_groups
    from utils.analysis.groups import grouped

    (folder,) = write_groups(grouped(find_runs([runs]).runs), runs)
    assert folder == runs / "seeds" / "tiny"
    before = sorted(path.name for path in folder.iterdir())
    assert write_groups(grouped(find_runs([runs]).runs), runs) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == before, "the same event file"
    assert len(find_runs([runs]).runs) == 3, "the group is none of the runs"
    assert not find_runs([runs]).unreadable
    (runs / "seeds" / "mine").mkdir()
    (runs / "seeds" / "mine" / "notes.txt").write_text("of a user")
    (runs / "tiny-seed2" / "report.json").unlink()
    assert write_groups(grouped(find_runs([runs]).runs), runs) == []
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("of a user")
    shutil.copytree(runs / "tiny-seed1", runs / "tiny-seed2", dirs_exist_ok=True)
    write_groups(grouped(find_runs([runs]).runs), runs)
    assert sorted(path.name for path in (runs / "seeds").glob("*/notes.txt")) == ["notes.txt"] * 2, (
        "nothing of others is removed"
    )


def test_the_columns_are_what_differs_in_unfinished_runs_too(runs: Path) -> None:
    from agents import free_options
    from utils.analysis.finding import find_runs
    from utils.analysis.group_log import write_columns
    from utils.analysis.groups import begun, grouped

    (runs / "other" / "report.json").unlink()
    assert main(["tiny.yaml", "train.num_epochs=2", "name=short"]) == 0
    found = find_runs([runs])
    write_columns([*grouped(found.runs), *begun(found)], ["loss"], runs, left_out=free_options())
    events = EventAccumulator(str(runs / "seeds" / "columns"))
    events.Reload()
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    shown = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert {info.name for info in shown.hparam_infos} == {"optimizer.lr", "train.max_grad_norm", "seed"}, (
        "a run does not log train.num_epochs, which may change when it goes on"
    )


def test_a_port_that_is_taken_is_one_line(workplace: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        assert main(["board", "--port", str(taken.getsockname()[1])]) == 2
    assert "TensorBoard cannot listen" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["--port", "70000"], "--port must be between 0 and 65535, got 70000"),
    ],
)
def test_bad_input_is_one_line(
    workplace: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["board", *words]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
