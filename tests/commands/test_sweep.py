"""sweep: ordinary runs, the best config, what a kill leaves, failures and bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import ROOT, Run, assert_refused, tiny_rows, write_jsonl

from main import main
from utils.runs.launching import Process

SWEEP = """\
config: tiny.yaml
name: s
trials: 2
sampler: random
space:
  optimizer.lr: {log: [1e-3, 1e-1]}
  model.hidden_size: {choice: [6, 12]}
"""
SHORT = "train.num_epochs=2"


def trials_of(name: str = "s") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///experiments/{name}-study.db").trials


def report_of(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"experiments/s-trial{number}/report.json").read_text())
    return found


def test_a_sweep_from_its_file_to_its_best_config(run: Run, workplace: Path) -> None:
    (workplace / "s.yaml").write_text(SWEEP)
    jobs = str(min(2, len(os.sched_getaffinity(0))))
    done = run("sweep", "s.yaml", SHORT, "--jobs", jobs)
    assert done.returncode == 0, done.stderr
    trials = trials_of()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    for trial in trials:
        assert trial.value == report_of(trial.number)["best"]["value"]
        config = Path(f"experiments/s-trial{trial.number}/config.yaml").read_text()
        assert f"hidden_size: {trial.params['model.hidden_size']}" in config
        assert "num_epochs: 2" in config
    best = max(trials, key=lambda trial: (trial.value, -trial.number))
    head, *_ = Path("experiments/s-best.yaml").read_text().splitlines()
    assert head.endswith(f"trial {best.number}, validation accuracy {best.value:.4f}.")
    assert "2 trials: 2 complete" in done.stdout
    assert main(["experiments/s-best.yaml", "name=again"]) == 0
    again = json.loads(Path("experiments/again/report.json").read_text())
    assert again["valid"]["loss"] == report_of(best.number)["valid"]["loss"]

    before = [Path(f"experiments/s-trial{i}/report.json").stat().st_mtime_ns for i in range(2)]
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 3"))
    assert run("sweep", "s.yaml", SHORT).returncode == 0
    assert before == [Path(f"experiments/s-trial{i}/report.json").stat().st_mtime_ns for i in range(2)]
    assert len(trials_of()) == 3


@pytest.mark.full
def test_another_sweep_of_that_name(run: Run, workplace: Path) -> None:
    (workplace / "s.yaml").write_text(SWEEP)
    assert run("sweep", "s.yaml", SHORT).returncode == 0
    assert_refused(
        run("sweep", "s.yaml", "train.num_epochs=3"), 2, "another study (train.num_epochs: 2 -> 3)", "--fresh"
    )
    assert run("sweep", "s.yaml", "train.num_epochs=1", "--fresh").returncode == 0
    assert [report_of(number)["train"]["epochs"] for number in range(2)] == [1] * 2


def test_trials_on_changed_data_are_of_another_study(run: Run, workplace: Path) -> None:
    (workplace / "s.yaml").write_text(SWEEP)
    assert run("sweep", "s.yaml", SHORT).returncode == 0
    rows = tiny_rows()
    write_jsonl(workplace / "tiny.jsonl", [*rows, rows[0] | {"text": "bake the bread and boil the rice"}])
    assert_refused(run("sweep", "s.yaml", SHORT), 2, "another study (data.sha256: ", "--fresh")


@pytest.mark.full
def test_a_new_study_has_none_of_the_old_runs(run: Run, workplace: Path) -> None:
    """Also those of its trials that a later start begins: --fresh was said once."""
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 3"))
    assert run("sweep", "s.yaml", SHORT).returncode == 0
    before = [Path(f"experiments/s-trial{i}/report.json").stat().st_mtime_ns for i in range(3)]
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 1"))
    assert run("sweep", "s.yaml", SHORT, "--fresh").returncode == 0
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 3"))
    done = run("sweep", "s.yaml", SHORT)
    assert done.returncode == 0, done.stderr
    assert "3 complete" in done.stdout
    after = [Path(f"experiments/s-trial{i}/report.json").stat().st_mtime_ns for i in range(3)]
    assert all(new > old for new, old in zip(after, before, strict=True))


def started(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "main.py"), "sweep", "s.yaml", *words]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def waited_for(path: str) -> None:
    until = time.monotonic() + 120
    while not list(Path().glob(path)):
        assert time.monotonic() < until, path
        time.sleep(0.05)


def own_children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("with_run", [True, pytest.param(False, marks=pytest.mark.full)], ids=["and its run", "alone"])
def test_a_killed_process_loses_no_trial(workplace: Path, with_run: bool) -> None:
    """Of two processes one is killed, with or without the run that it has started: each trial is done once, from its checkpoint."""
    (workplace / "s.yaml").write_text(SWEEP)
    words = ["train.num_epochs=30", "train.save_every=2 steps", "train.validate_every=10 epochs"]
    killed = started(workplace, *words)
    waited_for("experiments/s-trial0/checkpoints/step-1*")
    other = started(workplace, *words)
    children = own_children(killed.pid)
    killed.kill()
    killed.communicate()
    for child in children if with_run else []:
        os.kill(child, signal.SIGKILL)
    _, log = other.communicate(timeout=200)
    assert other.returncode == 0, log
    trials = trials_of()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    assert sorted(path.name for path in Path("experiments").glob("s-trial*")) == [f"s-trial{i}" for i in range(2)]
    assert trials[0].user_attrs["starts"] == 2
    own = Path("experiments/s-trial0/run.log").read_text()
    assert ("resuming from step" in own) == with_run
    assert report_of(0)["train"]["steps"] == 150


@pytest.mark.full
def test_a_signal_leaves_the_trials_to_the_next_start(workplace: Path) -> None:
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 1"))
    words = ["train.num_epochs=60", "train.validate_every=20 epochs"]
    process = started(workplace, *words)
    waited_for("experiments/s-trial0/metrics.jsonl")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=100)
    assert process.returncode == 143, log
    assert trials_of()[0].state.name == "RUNNING"
    assert main(["sweep", "s.yaml", *words]) == 0
    assert trials_of()[0].state.name == "COMPLETE"


@pytest.mark.full
def test_a_bad_combination_fails_alone(run: Run, workplace: Path) -> None:
    """Each option is fine by itself, and the first and the last of them together."""
    (workplace / "tiny.yaml").rename("old.yaml")
    model = "model: {name: transformer, hidden_size: 12, num_heads: 2}\ndata: {max_length: 20}\n"
    (workplace / "tiny.yaml").write_text(f"base: old.yaml\n{model}")
    space = "{model.hidden_size: {choice: [10]}, model.num_heads: {choice: [2, 3, 1]}}"
    (workplace / "s.yaml").write_text(f"config: tiny.yaml\nname: s\nsampler: grid\nspace: {space}\n")
    done = run("sweep", "s.yaml", SHORT)
    assert done.returncode == 0, done.stderr
    assert Counter(trial.state.name for trial in trials_of()) == {"COMPLETE": 2, "FAIL": 1}
    assert "failed with exit code 2" in done.stderr
    assert "3 trials: " in done.stdout


@pytest.mark.full
def test_trials_that_all_fail_end_the_sweep(run: Run, workplace: Path) -> None:
    (workplace / "s.yaml").write_text(SWEEP.replace("trials: 2", "trials: 20"))
    write_jsonl(workplace / "one.jsonl", [row | {"label": "chess"} for row in tiny_rows()])
    done = run("sweep", "s.yaml", "data.train=one.jsonl")
    assert_refused(done, 3, "the first 3 trials have failed", "one.jsonl: the column 'label' has only one label")
    assert len(trials_of()) == 3
    (workplace / "s.yaml").write_text(SWEEP.replace("name: s", "name: gone"))
    done = run("sweep", "s.yaml", "data.train=absent.jsonl")
    assert_refused(done, 3, "absent.jsonl: no such file")


@pytest.mark.full
def test_worse_runs_are_ended_early(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the median of five runs: those with almost no learning rate."""
    (workplace / "s.yaml").write_text(
        SWEEP.replace("{log: [1e-3, 1e-1]}", "{choice: [1e-9, 5e-2]}").replace("trials: 2", "trials: 12")
    )
    monkeypatch.setattr("utils.search.trials.POLL", 0.1)
    sent: list[str] = []
    send = Process.send
    monkeypatch.setattr(Process, "send", lambda self, number: (sent.append(self.job.name), send(self, number)))
    assert main(["sweep", "s.yaml", "train.num_epochs=40"]) == 0
    pruned = [trial for trial in trials_of() if trial.state.name == "PRUNED"]
    assert pruned
    assert {f"s-trial{trial.number}" for trial in pruned} == set(sent)
    assert {trial.params["optimizer.lr"] for trial in pruned} == {1e-9}
    assert not any(Path(f"experiments/s-trial{trial.number}/report.json").exists() for trial in pruned)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (SWEEP.replace("model.hidden_size", "model.hiden_size"), [], "model.hiden_size"),
        ("base: tiny.yaml", [], "s.yaml: is the config of a run, not a sweep"),
        (SWEEP.replace("[6, 12]", "[6, 0]"), [], "s.yaml:7: space.model.hidden_size"),
        (SWEEP.replace("tiny.yaml", "none.yaml"), [], "none.yaml"),
        (SWEEP.replace("name: s", "name: a/b"), [], "one folder's name"),
        (
            SWEEP.replace("model.hidden_size", "train.monitor").replace("[6, 12]", "[+accuracy, -loss]"),
            [],
            "space.train.monitor: trials are judged by it",
        ),
        (
            SWEEP.replace("model.hidden_size", "loss.label_smoothing").replace("[6, 12]", "[0.0, 0.1]"),
            ["train.monitor=-loss"],
            "space.loss.label_smoothing: trials are judged by it",
        ),
        (SWEEP, ["--jobs", "1000"], "--jobs"),
        (SWEEP, ["optimizer.lr=0.1"], "the sweep chooses optimizer.lr"),
        (SWEEP, ["name=x"], "the sweep chooses name"),
        (SWEEP, ["data.split=[0.8, 0, 0.2]"], "validation"),
    ],
)
def test_bad_input(workplace: Path, capsys: pytest.CaptureFixture[str], text: str, words: list[str], said: str) -> None:
    (workplace / "s.yaml").write_text(text)
    assert main(["sweep", "s.yaml", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_without_optuna(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("optuna", "utils.search.study", "utils.search.trials"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    (workplace / "s.yaml").write_text(SWEEP)
    assert main(["sweep", "s.yaml"]) == 2
    assert "pip install optuna" in capsys.readouterr().err.splitlines()[-1]
