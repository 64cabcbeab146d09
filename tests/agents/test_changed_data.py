"""D85 of the failure catalogue: a data file that changes during a run or after it is never taken for the one that was trained on."""

import json
from pathlib import Path

import pytest
from conftest import tiny_rows, write_jsonl

from agents import checked_config
from agents.base import BaseAgent
from agents.running.text_data import _options
from datasets.rows.targets import LabelTarget
from main import main

PREDICTIONS = "experiments/{}/predictions.jsonl"


def other_texts(path: Path) -> None:
    """The same labels in the same rows, other texts."""
    write_jsonl(path, [row | {"text": f"another text {i}"} for i, row in enumerate(tiny_rows())])


def test_a_file_that_changes_during_the_training_is_not_reported_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", "name=control"]) == 0
    train = BaseAgent.train

    def train_then_change(agent: BaseAgent) -> None:
        train(agent)
        other_texts(workplace / "tiny.jsonl")

    with monkeypatch.context() as patch:
        patch.setattr(BaseAgent, "train", train_then_change)
        assert main(["tiny.yaml", "name=changed"]) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "tiny.jsonl: the data has changed since it was tokenised; restore it and run the same command to resume"
    )
    assert not Path(PREDICTIONS.format("changed")).exists()
    write_jsonl(workplace / "tiny.jsonl", tiny_rows())
    assert main(["tiny.yaml", "name=changed"]) == 0
    assert Path(PREDICTIONS.format("changed")).read_bytes() == Path(PREDICTIONS.format("control")).read_bytes()


@pytest.mark.parametrize("tokenizer", ["word", "wordpiece"])
@pytest.mark.parametrize("begins_with", ["nothing", "weights", "tokenizer"])
def test_a_test_on_changed_data_is_warned_of(
    workplace: Path, capsys: pytest.CaptureFixture[str], tokenizer: str, begins_with: str
) -> None:
    options = [f"tokenizer.name={tokenizer}", "train.num_epochs=1"]
    assert main(["tiny.yaml", "name=run", *options]) == 0
    if begins_with == "weights":
        assert main(["tiny.yaml", "name=next", "init_from=experiments/run", *options]) == 0
    elif begins_with == "tokenizer":
        saved = "tokenizer={name: saved, path: experiments/run}"
        assert main(["tiny.yaml", "name=next", "train.num_epochs=1", saved]) == 0
    folder = f"experiments/{'run' if begins_with == 'nothing' else 'next'}"
    expected = json.loads(Path(folder, "report.json").read_bytes())["test"]["loss"]
    capsys.readouterr()
    assert main(["test", folder, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["loss"] == pytest.approx(expected, abs=1e-6)
    assert captured.err == ""
    other_texts(workplace / "tiny.jsonl")
    assert main(["test", folder, "--json"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"warning: the data has changed since {folder} was trained: its test split may hold texts of the training"
    ]


def test_a_start_that_is_refused_for_its_data_leaves_the_run_usable(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", "name=run"]) == 0
    other_texts(workplace / "tiny.jsonl")
    assert main(["tiny.yaml", "name=run", "train.num_epochs=3"]) == 4
    assert "belongs to other data" in capsys.readouterr().err
    assert main(["predict", "experiments/run", "--text", "hoist the sail"]) == 0


def test_a_new_run_that_is_refused_for_its_data_leaves_no_folder(workplace: Path) -> None:
    assert main(["tiny.yaml", "name=run", "data.train=missing.jsonl"]) == 3
    assert not list(Path("experiments").glob("[!.]*"))
    assert main(["tiny.yaml", "name=run"]) == 0
    before = sorted(path.name for path in Path("experiments/run").iterdir())
    other_texts(workplace / "tiny.jsonl")
    assert main(["tiny.yaml", "name=run", "train.num_epochs=3"]) == 4
    assert sorted(path.name for path in Path("experiments/run").iterdir()) == before


def contents(folder: str) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and path.name != "run.log"
    }


@pytest.mark.parametrize(
    ("words", "code"),
    [(["data.train=missing.jsonl"], 3), (["init_from=experiments/run"], 4), (["train.num_steps=3"], 2)],
)
def test_a_fresh_start_that_is_refused_keeps_the_old_run(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    """Also where the new run was to begin with the weights of the one that it replaces, or its schedule is longer than it."""
    words = [*words, "scheduler={name: linear, warmup_steps: 5}"]
    assert main(["tiny.yaml", "name=run"]) == 0
    before = contents("experiments/run")
    assert main(["tiny.yaml", "name=run", "--fresh", *words]) == code
    assert "experiments/run: the run that --fresh was to replace is still there" in capsys.readouterr().err
    assert contents("experiments/run") == before
    assert [path.name for path in Path("experiments").iterdir()].count("run") == 1


def test_several_labels_a_text_are_other_data_than_for_the_first_version(workplace: Path) -> None:
    """It split them in another way: what it trained on may be tested now, which `test` says of other data."""
    options = {"data.multi_label": True, "loss.name": "binary_cross_entropy"}
    assert "is_stratified" in _options(checked_config(Path("tiny.yaml"), options), LabelTarget)["data"]
    assert "is_stratified" not in _options(checked_config(Path("tiny.yaml"), {}), LabelTarget)["data"]
