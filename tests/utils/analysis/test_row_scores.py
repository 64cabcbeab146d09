"""AUROC and losses from the probabilities of predictions.jsonl: those of scikit-learn and of graphs/losses, on rows drawn again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from torch import Tensor

from graphs.losses import LOSSES
from utils.analysis.paired import row_weights
from utils.analysis.row_metrics import RankMetric, RowMetric, row_metric

LABELS, N = ["a", "b", "c"], 80
LOSS_OPTIONS: list[dict[str, Any]] = [
    {"name": "cross_entropy"},
    {"name": "cross_entropy", "class_weights": {"a": 3.0, "c": 0.5}, "label_smoothing": 0.2},
    {"name": "distillation", "teacher": "experiments/none", "label_smoothing": 0.1},
    {"name": "focal", "gamma": 1.5, "class_weights": {"b": 2.0}},
    {"name": "binary_cross_entropy"},
    {"name": "binary_cross_entropy", "class_weights": {"a": 4.0}},
]


def drawn(scale: float, *, is_multi_label: bool) -> tuple[list[dict[str, Any]], Tensor, Tensor]:
    """Lines as a run writes them, with their logits (N, L) and gold labels, (N,) or (N, L)."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(N, len(LABELS), generator=generator)
    noisy = logits + scale * torch.randn(N, len(LABELS), generator=generator)
    gold = (noisy > 0).long() if is_multi_label else noisy.argmax(dim=-1)
    shares = logits.sigmoid() if is_multi_label else logits.softmax(dim=-1)
    lines: list[dict[str, Any]] = []
    for row, label in zip(shares.tolist(), gold.tolist(), strict=True):
        named = (
            [name for name, is_gold in zip(LABELS, label, strict=True) if is_gold] if is_multi_label else LABELS[label]
        )
        predicted = [] if is_multi_label else LABELS[int(np.argmax(row))]
        lines.append({"gold": named, "predicted": predicted, "probabilities": dict(zip(LABELS, row, strict=True))})
    return lines, logits, gold


def metric_of(name: str, lines: list[dict[str, Any]], options: dict[str, Any] | None = None) -> RowMetric | RankMetric:
    found = row_metric(name, lines, options or {})
    assert found is not None
    return found


def dotted(loss: dict[str, Any]) -> dict[str, Any]:
    """The options of a run with this loss."""
    weights = {f"loss.class_weights.{label}": value for label, value in (loss.get("class_weights") or {}).items()}
    return {f"loss.{key}": value for key, value in loss.items() if key != "class_weights"} | weights


@pytest.mark.parametrize("is_multi_label", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_areas_are_scikit_learns_on_any_rows(scale: float, is_multi_label: bool) -> None:
    lines, logits, gold = drawn(scale if not is_multi_label else min(scale, 4.0), is_multi_label=is_multi_label)
    metric = metric_of("auroc", lines)
    own = logits.double()
    rest = torch.stack([own[:, [j for j in range(3) if j != i]].logsumexp(dim=-1) for i in range(3)], dim=-1)
    scores = (own if is_multi_label else own - rest).numpy()  # the log odds, of which some probabilities round to 1
    is_gold = gold.numpy() if is_multi_label else np.eye(3)[gold.numpy()]
    weights = np.concatenate([np.ones((1, N)), row_weights(N, 5)])
    expected = [
        np.mean([roc_auc_score(is_gold[:, i], scores[:, i], sample_weight=each) for i in range(3)]) for each in weights
    ]
    assert metric.on(weights) == pytest.approx(expected, abs=1e-12)
    assert metric.on_all() == pytest.approx(expected[0], abs=1e-12)


def test_ties_and_absent_labels() -> None:
    lines = [
        {"gold": gold, "predicted": "a", "probabilities": {"a": share, "b": 1 - share}}
        for gold, share in (("a", 0.75), ("b", 0.75), ("a", 0.5), ("b", 0.25))
    ]
    metric = metric_of("auroc", lines)
    assert metric.on_all() == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert metric.on(np.array([[1, 0, 1, 0], [2, 1, 0, 0]])).tolist() == [0.0, 0.5], "without a pair: 0; a tie: half"


@pytest.mark.parametrize("loss", LOSS_OPTIONS, ids=lambda loss: "-".join(map(str, loss.values())))
def test_losses_are_those_of_the_agents_on_any_rows(loss: dict[str, Any]) -> None:
    lines, logits, gold = drawn(3.0, is_multi_label=loss["name"] == "binary_cross_entropy")
    metric = metric_of("loss", lines, dotted(loss))
    part: Any = LOSSES[loss["name"]](LABELS, **{key: value for key, value in loss.items() if key != "name"})
    gold = gold.float() if gold.dim() == 2 else gold
    for weight in [np.ones(N), *row_weights(N, 3)]:
        rows = torch.from_numpy(np.repeat(np.arange(N), weight.astype(int)))
        expected = float(part(logits[rows], gold[rows])) / part.count(gold[rows])
        assert metric.on(weight[None])[0] == pytest.approx(expected, rel=1e-5)


def test_plain_losses_are_scikit_learns() -> None:
    lines, _, gold = drawn(1.0, is_multi_label=False)
    shares = np.array([list(line["probabilities"].values()) for line in lines])
    shares /= shares.sum(axis=1, keepdims=True)  # float32 sums to 1 within its rounding
    assert metric_of("loss", lines, {"loss.name": "cross_entropy"}).on_all() == pytest.approx(
        log_loss(gold, shares), rel=1e-6
    )
    numbers = [{"gold": float(i), "predicted": i + (-1.0) ** i * 0.1 * i} for i in range(20)]
    expected = mean_squared_error([row["gold"] for row in numbers], [row["predicted"] for row in numbers])
    assert metric_of("loss", numbers, {"agent": "regression"}).on_all() == pytest.approx(expected)


def test_losses_that_predictions_do_not_hold() -> None:
    lines, _, _ = drawn(1.0, is_multi_label=False)
    assert row_metric("loss", lines, {"loss.name": "of_my_own"}) is None
    assert row_metric("loss", [{"gold": 1.0, "predicted": 2.0}], {"agent": "of_my_own"}) is None
    lines[0]["probabilities"] = {**dict.fromkeys(LABELS, 1.0), lines[0]["gold"]: 0.0}
    assert row_metric("loss", lines, {"loss.name": "cross_entropy"}) is None, (
        "an infinite loss is that of a rounded probability"
    )


def test_a_line_holds_more_than_its_report_only_within_the_bins(workplace: Path) -> None:
    """The figures of a real run's report, from its lines."""
    from main import main

    assert main(["tiny.yaml", "name=x", "metrics=[accuracy, auroc]", "loss.label_smoothing=0.1"]) == 0
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    report = json.loads(Path("experiments/x/report.json").read_text())["test"]
    options = {"loss.name": "cross_entropy", "loss.label_smoothing": 0.1}
    assert metric_of("loss", lines, options).on_all() == pytest.approx(report["loss"], rel=1e-6)
    assert metric_of("auroc", lines).on_all() == pytest.approx(report["auroc"], abs=2e-3)
