"""Reference curves: made from runs, read again, shown beside a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from main import main
from utils.runs.reference import ReferenceCurve, curve_of, dump

BANDS = [{"step": 5, "accuracy": [0.5, 0.4, 0.6]}, {"step": 10, "accuracy": [0.8, 0.7, 0.9], "loss": [1.0, 0.5, 1.5]}]


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_curve_is_the_mean_and_the_band_of_its_runs(tmp_path: Path) -> None:
    for name, losses in (("a", [3.0, 2.0, 1.0]), ("b", [5.0, 1.0])):
        (tmp_path / name).mkdir()
        lines = [{"step": 10 * i, "split": "valid", "mlm": loss} for i, loss in enumerate(losses, 1)]
        lines.append({"step": 10, "split": "train", "mlm": 99.0})
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = curve_of([tmp_path / "a", tmp_path / "b"], ["mlm", "accuracy"])
    assert curve["points"] == [{"step": 10, "mlm": [4.0, 3.0, 5.0]}, {"step": 20, "mlm": [1.5, 1.0, 2.0]}]
    again = ReferenceCurve.read(write(tmp_path / "curve.json", dump(curve)))
    assert again.points == curve["points"]


def test_seeds_whose_epochs_differ_in_a_step_have_one_curve(tmp_path: Path) -> None:
    for name, step in (("a", 10), ("b", 8)):
        (tmp_path / name).mkdir()
        lines = [{"step": step * i, "split": "valid", "mlm": float(i)} for i in range(1, 4)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    points = curve_of([tmp_path / "a", tmp_path / "b"])["points"]
    assert points == [{"step": 16, "mlm": [1.8, 1.6, 2.0]}, {"step": 24, "mlm": [2.7, 2.4, 3.0]}], (
        "a began after step 8"
    )


def test_it_says_what_it_had_at_a_step(tmp_path: Path) -> None:
    curve = ReferenceCurve.read(write(tmp_path / "c.json", {"points": BANDS[::-1]}))
    values = {"loss": 1.0, "accuracy": 0.5}
    assert curve.beside(values, 7) == " (reference at step 5: accuracy 0.5000, 0.4000 to 0.6000)"
    assert curve.beside(values, 10) == " (reference at step 10: accuracy 0.8000, 0.7000 to 0.9000)"
    assert curve.beside(values, 4) == curve.beside(values, 11) == curve.beside({"f1": 1.0}, 7) == ""


def test_a_run_shows_it_in_tensorboard_and_in_its_lines(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        workplace / "curve.json",
        {"points": [{"step": 1, "accuracy": [0.5, 0.4, 0.6]}, {"step": 99, "accuracy": [0.8, 0.7, 0.9]}]},
    )
    assert main(["tiny.yaml", "name=x", "--against", "curve.json"]) == 0
    assert "(reference at step 1: accuracy 0.5000, 0.4000 to 0.6000)" in capsys.readouterr().err
    for kind, value in (("mean", 0.8), ("low", 0.7), ("high", 0.9)):
        events = EventAccumulator(f"experiments/x/reference/{kind}")
        events.Reload()
        assert [(e.step, round(e.value, 4)) for e in events.Scalars("valid/accuracy")][-1] == (99, value)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "no json",
        "[]",
        '{"points": []}',
        '{"points": [{"accuracy": [1, 2, 3]}]}',
        '{"points": 3}',
        '{"points": [{"step": 1, "mlm": ["a", 1, 2]}]}',
    ],
)
def test_a_file_that_is_no_curve_is_refused(
    workplace: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        write(workplace / "curve.json", content)
    assert main(["tiny.yaml", "name=x", "--against", "curve.json"]) == 2
    assert "command line: --against curve.json: " in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("experiments/x").exists()


def test_a_curve_of_another_task_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(workplace / "curve.json", {"points": [{"step": 1, "mlm": [5.0, 4.0, 6.0]}]})
    assert main(["tiny.yaml", "name=x", "--against", "curve.json"]) == 2
    assert "--against curve.json has mlm; the run has loss, accuracy, macro_f1" in capsys.readouterr().err
    assert not Path("experiments/x").exists()
