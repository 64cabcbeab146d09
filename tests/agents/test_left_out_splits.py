"""Runs without a validation or a test split: they go to their end, and claim nothing that was not measured."""

import json
from pathlib import Path

import pytest
from conftest import tiny_rows, write_jsonl
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import load
from main import main

SPLITS = {"no test": ([0.75, 0.25, 0.0], {"train", "valid"}), "no valid": ([0.75, 0, 0.25], {"train", "test"}), "neither": ([1, 0, 0], {"train"})}  # fmt: skip


def start(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    """(stdout, stderr) of the program, which ends with the code."""
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out, said.err


@pytest.mark.parametrize("case", SPLITS)
def test_a_run_without_a_split(workplace: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    shares, splits = SPLITS[case]
    out, err = start(capsys, "tiny.yaml", f"data.split={shares}", "name=x", "train.save_every=3 steps")
    report = json.loads(Path("experiments/x/report.json").read_text())
    for split in ("valid", "test"):
        assert (split in report) == (split in splits)
        assert (f"\n  {split} " in out) == (split in splits), out
        assert (f"{split}: 0 rows" in err) is False
        assert ("test has no row" in err) is False
    lines = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines if line["split"] in ("valid", "best_valid", "test")} == (
        ({"valid", "best_valid"} if "valid" in splits else set()) | ({"test"} if "test" in splits else set())
    )
    events = EventAccumulator("experiments/x")
    events.Reload()
    assert any(tag.startswith(("valid/", "best_valid/")) for tag in events.Tags()["scalars"]) == ("valid" in splits)
    assert Path("experiments/x/predictions.jsonl").exists() == ("test" in splits)
    if "valid" not in splits:
        assert report["best"] is None
        assert "best" not in err + out
        step = report["train"]["steps"]
        last = load_file(f"experiments/x/checkpoints/step-{step}/model.safetensors")
        for name, tensor in load("experiments/x").model.state_dict().items():
            assert tensor.equal(last[name])
    assert len(load("experiments/x").predict(["castle the king"])) == 1
    out, _ = start(capsys, "tiny.yaml", f"data.split={shares}", "name=x", "train.save_every=3 steps")
    assert "2 epochs" in out, "the same command shows the report"
    if "test" in splits:
        assert json.loads(start(capsys, "test", "experiments/x", "--json")[0])["loss"] == pytest.approx(
            report["test"]["loss"], abs=1e-6
        )
    else:
        _, err = start(capsys, "test", "experiments/x", code=2)
        assert "experiments/x: this run has no test split (data.split); give a file with --data" in err
        write_jsonl(workplace / "other.jsonl", tiny_rows(12))
        assert "accuracy" in start(capsys, "test", "experiments/x", "--data", "other.jsonl", "--json")[0]


def test_given_files_count_as_splits_whatever_the_shares(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(workplace / "other.jsonl", tiny_rows(150)[120:])
    start(capsys, "tiny.yaml", "data.split=[1, 0, 0]", "data.valid=other.jsonl", "train.patience=1", "name=x")
    report = json.loads(Path("experiments/x/report.json").read_text())
    assert report["data"]["valid"]["used"] == 30
    assert "test" not in report


@pytest.mark.parametrize(
    ("words", "key", "remedy"),
    [
        (["train.patience=2"], "train.patience", "train.patience: null"),
        (["scheduler.name=reduce_on_plateau"], "scheduler.name", "scheduler.name: constant"),
    ],
)
def test_what_waits_for_validations_is_refused_before_data_is_read(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], key: str, remedy: str
) -> None:
    Path("tiny.jsonl").unlink()
    _, err = start(capsys, "tiny.yaml", "data.split=[0.9, 0.0, 0.1]", "--dry-run", *words, code=2)
    need = f"{key} needs a validation split, and data.split gives it no share"
    assert f"{need}; write {remedy}, or data.split: [0.8, 0.1, 0.1]" in err


def test_a_split_that_was_asked_for_and_has_no_row_is_refused_as_before(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "empty.jsonl").write_text("")
    assert "has no rows left for valid" in start(capsys, "tiny.yaml", "data.valid=empty.jsonl", code=3)[1]


def test_a_killed_run_without_validation_goes_on_to_the_same_weights(
    workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["tiny.yaml", "data.split=[0.8, 0, 0.2]"]
    assert main([*words, "name=whole", "train.num_epochs=3"]) == 0
    assert main([*words, "name=cut", "train.num_epochs=1"]) == 0
    assert main([*words, "name=cut", "train.num_epochs=3"]) == 0
    step = json.loads(Path("experiments/cut/report.json").read_text())["train"]["steps"]
    one, other = (
        load_file(f"experiments/{name}/checkpoints/step-{step}/model.safetensors") for name in ("whole", "cut")
    )
    assert all(one[name].equal(other[name]) for name in one)


def test_a_teacher_and_a_student_need_no_validation(workplace: Path) -> None:
    assert main(["tiny.yaml", "data.split=[1, 0, 0]", "name=teacher"]) == 0
    student = ["loss={name: distillation, teacher: experiments/teacher}", "model={name: bag_of_embeddings}"]
    assert main(["tiny.yaml", "data.split=[1, 0, 0]", "name=student", *student]) == 0
    assert json.loads(Path("experiments/student/report.json").read_text())["best"] is None
