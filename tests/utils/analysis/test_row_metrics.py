"""Metrics from the lines of predictions.jsonl: those of scikit-learn and sacrebleu, on all rows and on rows drawn again."""

from typing import Any

import numpy as np
import pytest
import sacrebleu
from scikit_learn import EXPECTED
from sklearn import metrics as sklearn

from utils.analysis.paired import row_weights
from utils.analysis.row_metrics import read_lines, right_rows, row_metric, rows_key
from utils.metrics.label_counts import METRICS, SINGLE_LABEL

LABELS = ["a", "b", "c"]
GENERATOR = np.random.default_rng(0)
SINGLE = [
    {"id": f"x:{i}", "text": f"text {i}", "gold": LABELS[i % 3], "predicted": LABELS[(i + (i % 5 == 0)) % 3]}
    for i in range(90)
]
for line in SINGLE:
    top = GENERATOR.uniform(0.4, 1.0)
    rest = dict.fromkeys(LABELS, (1 - top) / 2)
    line["probabilities"] = rest | {line["predicted"]: top}
MULTI: list[dict[str, Any]] = [
    {"text": f"t{i}", "gold": [n for n in LABELS if i % (2 + LABELS.index(n)) == 0], "predicted": LABELS[: i % 3]}
    for i in range(60)
]
PAIRS = [
    {"source": f"s{i}", "reference": f"a man rides a horse {i}", "predicted": f"a man rode the horse {i % 7}"}
    for i in range(40)
]
NUMBERS = [{"text": f"t{i}", "gold": float(i), "predicted": i + (-1.0) ** i * 0.1 * i} for i in range(20)]


def expected(name: str, rows: list[dict[str, Any]]) -> float:
    gold, predicted = [row["gold"] for row in rows], [row["predicted"] for row in rows]
    return float(EXPECTED[name](gold, predicted))


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_labels_are_scikit_learns_on_any_rows(name: str) -> None:
    metric = row_metric(name, SINGLE, {})
    assert metric is not None
    assert metric.on_all() == pytest.approx(expected(name, SINGLE))
    weights = row_weights(len(SINGLE), 6)
    for weight, found in zip(weights, metric.on(weights), strict=True):
        drawn = [row for row, times in zip(SINGLE, weight, strict=True) for _ in range(int(times))]
        assert found == pytest.approx(expected(name, drawn)), name


@pytest.mark.parametrize("name", [name for name in METRICS if name not in SINGLE_LABEL])
def test_several_labels_a_text(name: str) -> None:
    metric, gold, predicted = (
        row_metric(name, MULTI, {}),
        *(np.array([[n in row[k] for n in LABELS] for row in MULTI]) for k in ("gold", "predicted")),
    )
    assert metric is not None
    assert metric.on_all() == pytest.approx(EXPECTED[name](gold, predicted))
    right = right_rows(MULTI)
    assert right is not None
    assert right.mean() == sklearn.accuracy_score(gold, predicted)


def test_calibration_by_hand() -> None:
    lines = [
        {"gold": "a", "predicted": "a", "probabilities": {"a": 0.9, "b": 0.1}},
        {"gold": "b", "predicted": "a", "probabilities": {"a": 0.9, "b": 0.1}},
        {"gold": "b", "predicted": "b", "probabilities": {"a": 0.4, "b": 0.6}},
    ]
    metric = row_metric("ece", lines, {})
    assert metric is not None
    assert metric.on_all() == pytest.approx((abs(1 - 1.8) + abs(1 - 0.6)) / 3)
    assert metric.on(np.array([[0, 0, 3]]))[0] == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_scores_of_texts_are_sacrebleus(name: str) -> None:
    metric = row_metric(name, PAIRS, {"scoring.lowercase": True, "scoring.tokenize": "13a"})
    assert metric is not None
    score: Any = sacrebleu.BLEU(lowercase=True) if name == "bleu" else sacrebleu.CHRF(lowercase=True)
    for weight in [np.ones(len(PAIRS)), *row_weights(len(PAIRS), 3)]:
        drawn = [row for row, times in zip(PAIRS, weight, strict=True) for _ in range(int(times))]
        texts, references = [row["predicted"] for row in drawn], [row["reference"] for row in drawn]
        assert metric.on(weight[None])[0] == pytest.approx(score.corpus_score(texts, [references]).score, abs=1e-9)


def test_errors_of_numbers() -> None:
    gold, predicted = [row["gold"] for row in NUMBERS], [row["predicted"] for row in NUMBERS]
    for name, score in (
        ("absolute_error", sklearn.mean_absolute_error),
        ("root_mean_squared_error", sklearn.root_mean_squared_error),
    ):
        metric = row_metric(name, NUMBERS, {})
        assert metric is not None
        assert metric.on_all() == pytest.approx(score(gold, predicted))


def test_what_predictions_do_not_hold_is_none() -> None:
    assert row_metric("loss", SINGLE, {}) is None
    assert row_metric("accuracy", [], {}) is None
    assert row_metric("accuracy", NUMBERS, {}) is None
    assert row_metric("bleu", SINGLE, {}) is None
    for name in SINGLE_LABEL:
        assert row_metric(name, MULTI, {}) is None, "not defined for several labels a text"
    assert right_rows(NUMBERS) is None


def test_test_sets_are_known_by_texts_and_gold_answers() -> None:
    key = rows_key(SINGLE)
    moved = [line | {"id": f"elsewhere:{i}", "predicted": "a", "truncated": True} for i, line in enumerate(SINGLE)]
    assert rows_key(moved) == key
    assert rows_key(SINGLE[::-1]) != key
    assert rows_key([*SINGLE[:-1], SINGLE[-1] | {"gold": "zzz"}]) != key
    assert rows_key([*SINGLE[:-1], SINGLE[-1] | {"text": "other"}]) != key


def test_a_line_separator_within_a_text_ends_no_line() -> None:
    assert read_lines('{"text": "a\u2028b\x85c"}\n{"text": "d"}\n') == [{"text": "a\u2028b\x85c"}, {"text": "d"}]
    for bad in (
        "[1]\n",
        '{"gold": "a", "predicted": "a"}\n{"gold": "a", "predicted": null}\n',
        '{"gold": "a", "predicted": "a"}\n{"predicted": "a"}\n',
        '{"gold": "a", "predicted": "a"}\n{"gold": ["a"], "predicted": "a"}\n',
        '{"a": 1}\n\n{"a": 2}',
        "[" * 100_000,
    ):
        with pytest.raises(ValueError, match=""):
            read_lines(bad)
