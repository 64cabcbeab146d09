"""`metrics` in a config: what is computed, monitored, reported, and measured again by `test` and `load`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef, roc_auc_score

from agents import load
from main import main
from utils.metrics.labels import ConfusionMatrix


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["test", "experiments/x", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def scalars(result: dict) -> list[str]:
    return [name for name, value in result.items() if isinstance(value, float)]


def test_chosen_metrics_are_everywhere(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["tiny.yaml", "metrics=[balanced_accuracy, mcc]", "train.monitor=+weighted_f1", "name=x"]) == 0
    out = capsys.readouterr().out
    report = json.loads(Path("experiments/x/report.json").read_text())
    expected = ["loss", "balanced_accuracy", "mcc", "weighted_f1", "majority_accuracy"]
    assert scalars(report["valid"]) == scalars(report["test"]) == expected
    assert all(name in out for name in expected)
    assert report["best"]["monitor"] == "+weighted_f1"
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    y = [line["gold"] for line in lines], [line["predicted"] for line in lines]
    assert report["test"]["mcc"] == pytest.approx(matthews_corrcoef(*y))
    assert report["test"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(*y))
    again = measured(capsys)
    assert {name: again[name] for name in expected} == pytest.approx({name: report["test"][name] for name in expected})
    write_jsonl(workplace / "other.jsonl", tiny_rows(30))
    assert scalars(measured(capsys, "--data", "other.jsonl")) == expected


@pytest.mark.parametrize(("monitor", "best"), [("+auroc", max), ("-ece", min)])
def test_metrics_of_scores_are_measured_monitored_and_reported(
    workplace: Path, capsys: pytest.CaptureFixture[str], monitor: str, best: Callable[[list[float]], float]
) -> None:
    words = ["metrics=[accuracy, ece, auroc]", f"train.monitor={monitor}", "train.num_epochs=8", "name=x"]
    assert main(["tiny.yaml", *words]) == 0
    report = json.loads(Path("experiments/x/report.json").read_text())
    assert scalars(report["test"]) == ["loss", "accuracy", "ece", "auroc", "majority_accuracy"]
    logged = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    values = [line[monitor[1:]] for line in logged if line["split"] == "valid"]
    assert report["valid"][monitor[1:]] == pytest.approx(best(values))
    assert max(values) > min(values)
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    labels = list(lines[0]["probabilities"])
    gold = np.array([[line["gold"] == label for label in labels] for line in lines])
    scores = np.array([[line["probabilities"][label] for label in labels] for line in lines])
    assert report["test"]["auroc"] == pytest.approx(roc_auc_score(gold, scores, average="macro"), abs=0.02)
    again = measured(capsys)
    assert {name: again[name] for name in ("ece", "auroc")} == {name: report["test"][name] for name in ("ece", "auroc")}


def test_the_default_counts_no_scores(workplace: Path) -> None:
    assert main(["tiny.yaml", "name=x", "train.num_epochs=1"]) == 0
    metrics = load("experiments/x").agent.new_metrics()
    assert isinstance(metrics, ConfusionMatrix)
    assert len(metrics.counts) == len(metrics.labels) ** 2 + 1


def test_the_default_is_as_before(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=x"]) == 0
    assert scalars(measured(capsys)) == ["loss", "accuracy", "macro_f1", "majority_accuracy"]
    matrix = np.array(measured(capsys)["confusion_matrix"]["matrix"])
    assert measured(capsys)["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_what_is_not_defined_for_several_labels_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tiny.yaml", "--dry-run", "data.multi_label=true", "loss.name=binary_cross_entropy"]
    for word in ("metrics=[mcc]", "train.monitor=+balanced_accuracy"):
        assert main([*words, word]) == 2
        assert "there is no metric" in capsys.readouterr().err
    assert main([*words, "metrics=[weighted_f1, exact_match]"]) == 0
