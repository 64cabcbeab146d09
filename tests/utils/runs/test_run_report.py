"""The final report: what it holds, and that any label is shown as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from utils.config.config import Config
from utils.errors import CheckpointError, ConfigError, GlassboxError, Stopped
from utils.metrics.labels import ConfusionMatrix, MultiLabelCounts
from utils.runs.run_report import MAX_ROWS, describe_rows, final_report, print_report
from utils.training.run_state import RunState


def report_of(labels: list[str], *, kind: Any = ConfusionMatrix, monitor: str = "+accuracy", gain: float = 0.5) -> Any:
    state = RunState(step=20, epoch=2, best_step=10, best_gain=gain, seconds=4.0, num_texts=80, num_tokens=800)
    config = Config({"name": "run", "seed": 1, "train": {"monitor": monitor}, "data": {}}, Path("a.yaml"), {})
    config.train.setdefault("num_epochs", 2)
    results = {split: {"loss": 0.25} | kind(labels).report() for split in ("valid", "test")}
    return final_report(config, state, nn.Linear(3, 2), {"train": {}}, results)


def test_the_report_says_what_was_done() -> None:
    report = report_of(["a", "b"])
    assert report["best"] == {"step": 10, "monitor": "+accuracy", "value": 0.5}
    assert report["train"]["texts_per_second"] == 20.0
    assert report["train"]["tokens_per_second"] == 200.0
    assert report["parameters"] == 8
    assert report["seeds"] == {"seed": 1, "split_seed": None}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("monitor", "gain", "value"), [("-loss", -1.5, 1.5), ("+score", -0.25, -0.25), ("-score", 2.0, -2.0)]
)
def test_the_best_value_is_the_metrics_own_and_not_its_gain(monitor: str, gain: float, value: float) -> None:
    assert report_of(["a", "b"], monitor=monitor, gain=gain)["best"]["value"] == value


def test_a_report_without_a_step_divides_by_nothing() -> None:
    config = Config({"name": "x", "seed": 1, "train": {"monitor": "+a"}, "data": {}}, Path("a.yaml"), {})
    assert final_report(config, RunState(best_gain=0.0), nn.Linear(1, 1), {}, {})["train"]["texts_per_second"] == 0.0


@pytest.mark.parametrize("label", ["[b]", "[/b]", "[red]x", ":smile:", "日本", "[link=x]y[/link]"])
def test_a_label_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], label: str) -> None:
    print_report(report_of([label, "other"]))
    assert capsys.readouterr().out.count(label) >= 2


@pytest.mark.parametrize(("number", "words"), [(1, "1 epoch, 1 step in"), (2, "2 epochs, 2 steps in")])
def test_one_epoch_is_not_a_plural(capsys: pytest.CaptureFixture[str], number: int, words: str) -> None:
    report = report_of(["a", "b"])
    report["train"] |= {"epochs": number, "steps": number}
    print_report(report)
    assert f"\n{words} 4.0 s of training (" in capsys.readouterr().out


def test_many_labels_are_cut_on_the_screen_only(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of([f"label-{i}" for i in range(MAX_ROWS + 5)])
    print_report(report)
    assert f"label-{MAX_ROWS} " not in capsys.readouterr().out
    assert len(report["test"]["per_class"]) == MAX_ROWS + 5


def test_no_number_and_no_name_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"category_{i}" for i in range(20)]
    report = report_of(labels)
    for split in ("valid", "test"):
        report[split] |= {f"a_metric_with_a_long_name_{i}": 0.1234 for i in range(9)}
    print_report(report)
    output = capsys.readouterr().out
    assert "…" not in output
    assert output.count("0.1234") == 18
    assert all(output.count(f"{label} ") >= 3 for label in labels), "by label, and in the matrix as row and as column"
    print_report(report_of([f"{'long ' * 40}{i}" for i in range(MAX_ROWS + 5)]))
    output = capsys.readouterr().out
    assert "…" not in output
    assert output.count(f"(the first {MAX_ROWS} of {MAX_ROWS + 5} labels)") == 2
    assert max(map(len, output.splitlines())) <= 300


def test_several_labels_a_text_have_no_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report_of(["a", "b"], kind=MultiLabelCounts))
    output = capsys.readouterr().out
    assert "micro_f1" in output
    assert "rows gold, columns predicted" not in output


def test_rows_read_are_rows_used_and_skipped() -> None:
    counts = {"read": 10, "used": 7, "skipped": {"without text": 2, "without label": 1}}
    lines = describe_rows({"train": counts, "valid": {"read": 3, "used": 3, "skipped": {}}, "test": counts})
    assert lines[0] == "train: 10 rows read = 7 used + 3 skipped (2 without text, 1 without label)"
    assert lines[1] == "valid: 3 rows read = 3 used + 0 skipped"


def test_every_kind_of_error_has_its_exit_code() -> None:
    kinds = [kind for kind in GlassboxError.__subclasses__() if kind.__module__ == GlassboxError.__module__]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert sorted(codes.values()) == [2, 3, 4, 5, 6, 7]
    assert (ConfigError.exit_code, CheckpointError.exit_code) == (2, 4)
    assert Stopped("stopped", 15).exit_code == 143
