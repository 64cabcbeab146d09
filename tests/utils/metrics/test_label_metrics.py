"""Metrics against scikit-learn, on random counts and where nothing is to be divided by."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scikit_learn import EXPECTED
from sklearn import metrics as sklearn
from torch import Tensor

from datasets.rows import labels
from utils.metrics import labels as metrics_module
from utils.metrics.base import LossMeter
from utils.metrics.label_counts import METRICS, SINGLE_LABEL, Counts, known_metrics
from utils.metrics.labels import IGNORED, MAX_LABELS, ConfusionMatrix, MultiLabelCounts
from utils.training.train_meter import TrainMeter

LABELS = ["a", "b", "c", "d"]
L = len(LABELS)


def batch_of(labels: Tensor) -> SimpleNamespace:
    """What metrics look at of a batch."""
    return SimpleNamespace(columns={"label": labels})


def logits_of(predicted: Tensor) -> Tensor:
    """Logits (B, L) whose largest is at the predicted label."""
    noise = torch.rand(len(predicted), L, generator=torch.Generator().manual_seed(0))
    return noise.scatter_add(1, predicted[:, None], torch.full((len(predicted), 1), 2.0))


def random_labels(size: tuple[int, ...], seed: int, high: int = L) -> Tensor:
    return torch.randint(high, size, generator=torch.Generator().manual_seed(seed))


ROWS = torch.arange(L).repeat(3)
CASES = {
    "random": (random_labels((200,), 1), random_labels((200,), 2)),
    "all right": (ROWS, ROWS),
    "all wrong": (ROWS, (ROWS + 1) % L),
    "one row": (torch.tensor([2]), torch.tensor([2])),
    "one wrong row": (torch.tensor([2]), torch.tensor([3])),
    "a class without gold": (random_labels((50,), 3, L - 1), random_labels((50,), 4)),
    "a class never predicted": (random_labels((50,), 5), random_labels((50,), 6, L - 1)),
    "one class only": (torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)),
    "a class neither gold nor predicted": (random_labels((50,), 10, L - 1), random_labels((50,), 11, L - 1)),
    "a class absent, all right": (ROWS[:3], ROWS[:3]),
    "some are not counted": (torch.where(random_labels((90,), 7) == 0, IGNORED, random_labels((90,), 8)), random_labels((90,), 9)),
}  # fmt: skip


def filled(gold: Tensor, predicted: Tensor, batch_size: int) -> ConfusionMatrix:
    metrics = ConfusionMatrix(LABELS)
    for rows in torch.arange(len(gold)).split(batch_size):
        metrics.update(logits_of(predicted[rows]), batch_of(gold[rows]))
    return metrics


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("case", CASES)
def test_confusion_matrix_equals_scikit_learn(case: str, batch_size: int) -> None:
    gold, predicted = CASES[case]
    metrics = filled(gold, predicted, batch_size)
    is_counted = gold != IGNORED
    y = gold[is_counted].numpy(), predicted[is_counted].numpy()
    every: dict[str, Any] = {"labels": range(L), "zero_division": 0}
    assert (metrics.matrix() == sklearn.confusion_matrix(*y, labels=range(L))).all()
    assert metrics.compute() == pytest.approx(
        {"accuracy": sklearn.accuracy_score(*y), "macro_f1": sklearn.f1_score(*y, average="macro", zero_division=0)}
    )
    assert_per_class(metrics.report(), sklearn.precision_recall_fscore_support(*y, **every))
    assert metrics.report()["majority_accuracy"] == pytest.approx(np.bincount(y[0]).max() / len(y[0]))


def assert_per_class(report: dict[str, Any], expected: Any) -> None:
    assert list(report["per_class"]) == LABELS
    found = [list(report["per_class"][label].values()) for label in LABELS]
    np.testing.assert_allclose(np.array(found).T, np.array(expected, dtype=float))
    assert list(report["per_class"]["a"]) == ["precision", "recall", "f1", "support"]


@pytest.mark.parametrize("case", CASES)
def test_without_a_matrix_all_else_is_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled(*CASES[case], 7).report()
    monkeypatch.setattr(metrics_module, "MAX_MATRIX", L - 1)
    counted = filled(*CASES[case], 7)
    del whole["confusion_matrix"]
    assert counted.report() == whole
    assert len(counted.counts) == 3 * L + 1


@pytest.mark.parametrize("labels", [[], [IGNORED, IGNORED]])
def test_with_nothing_counted_all_is_zero(labels: list[int]) -> None:
    metrics = ConfusionMatrix(LABELS)
    metrics.update(torch.randn(len(labels), L), batch_of(torch.tensor(labels, dtype=torch.int64)))
    assert metrics.compute() == {"accuracy": 0.0, "macro_f1": 0.0}
    assert metrics.report()["majority_accuracy"] == 0.0


def test_the_report_holds_plain_values() -> None:
    report = filled(*CASES["random"], 50).report()
    assert plain_types(report) <= {dict, list, str, int, float}
    assert report["confusion_matrix"]["labels"] == LABELS
    assert np.sum(report["confusion_matrix"]["matrix"]) == 200


def plain_types(value: Any) -> set[type]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return {type(value)}.union(*map(plain_types, inner))


def test_counts_add_up_over_parts_and_can_be_saved() -> None:
    gold, predicted = CASES["some are not counted"]
    whole, left, right = (filled(gold[s], predicted[s], 9) for s in (slice(None), slice(40), slice(40, None)))
    left.counts += right.counts
    assert left.report() == whole.report()
    assert whole.counts.dtype == torch.int64
    assert int(whole.counts.sum()) == len(gold), "what is not counted is counted apart"


def test_half_precision_and_nan_outputs_are_counted_as_something() -> None:
    metrics = ConfusionMatrix(LABELS)
    metrics.update(torch.randn(5, L).bfloat16(), batch_of(torch.zeros(5, dtype=torch.int64)))
    metrics.update(torch.full((5, L), torch.nan), batch_of(torch.zeros(5, dtype=torch.int64)))
    assert metrics.matrix().sum() == 10


def test_too_many_labels_are_refused() -> None:
    assert labels.MAX_LABELS == MAX_LABELS, "refused when the data is read, so that no user meets this error"
    with pytest.raises(ValueError, match="5,001 labels are more than the 5,000 that can be told apart here"):
        ConfusionMatrix(list(map(str, range(MAX_LABELS + 1))))


# Any number of labels a text.

NONE, ALL = torch.zeros(6, L, dtype=torch.int64), torch.ones(6, L, dtype=torch.int64)
MULTI_LABEL_CASES = {
    "random": (random_labels((200, L), 1, 2), random_labels((200, L), 2, 2)),
    "all right": (random_labels((20, L), 3, 2), random_labels((20, L), 3, 2)),
    "all wrong": (random_labels((20, L), 4, 2), 1 - random_labels((20, L), 4, 2)),
    "no gold label": (NONE, ALL),
    "none predicted": (ALL, NONE),
    "none at all": (NONE, NONE),
    "one row": (ALL[:1], ALL[:1]),
    "a label neither gold nor predicted": (ALL * torch.tensor([1, 1, 1, 0]), ALL * torch.tensor([1, 1, 1, 0])),
    "a label that never occurs": (random_labels((30, L), 5, 2) * torch.tensor([1, 1, 1, 0]), ALL.repeat(5, 1)),
}


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("case", MULTI_LABEL_CASES)
def test_multi_label_counts_equal_scikit_learn(case: str, batch_size: int) -> None:
    gold, predicted = MULTI_LABEL_CASES[case]
    metrics = MultiLabelCounts(LABELS)
    for rows in torch.arange(len(gold)).split(batch_size):
        metrics.update(predicted[rows] * 3.0 - 1.5, batch_of(gold[rows].float()))
    y = gold.numpy(), predicted.numpy()
    exact = sklearn.accuracy_score(*y)
    scores = {f"{kind}_f1": sklearn.f1_score(*y, average=kind, zero_division=0) for kind in ("macro", "micro")}
    assert metrics.compute() == pytest.approx({"accuracy": exact, "exact_match": exact} | scores)
    assert_per_class(metrics.report(), sklearn.precision_recall_fscore_support(*y, zero_division=0))
    assert plain_types(metrics.report()) <= {dict, str, int, float}


@pytest.mark.parametrize("kind", [ConfusionMatrix, MultiLabelCounts])
def test_the_scalars_that_may_be_monitored_are_those_that_are_computed(kind: Any) -> None:
    assert tuple(kind(LABELS).compute()) == kind.scalars
    assert kind(LABELS).compute().items() <= kind(LABELS).report().items()


# The table of metrics.


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@pytest.mark.parametrize("has_matrix", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_every_metric_equals_scikit_learn(case: str, has_matrix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_MATRIX", L if has_matrix else L - 1)
    gold, predicted = CASES[case]
    metrics = ConfusionMatrix(LABELS, names=known_metrics(is_multi_label=False))
    metrics.update(logits_of(predicted), batch_of(gold))
    y = gold[gold != IGNORED].numpy(), predicted[gold != IGNORED].numpy()
    expected = {name: score(*y) for name, score in EXPECTED.items()}
    assert metrics.compute() == pytest.approx(expected, abs=1e-12)
    assert set(expected) == set(METRICS)


@pytest.mark.parametrize("case", MULTI_LABEL_CASES)
def test_every_metric_of_several_labels_equals_scikit_learn(case: str) -> None:
    gold, predicted = MULTI_LABEL_CASES[case]
    metrics = MultiLabelCounts(LABELS, names=known_metrics(is_multi_label=True))
    metrics.update(predicted * 3.0 - 1.5, batch_of(gold.float()))
    y = gold.numpy(), predicted.numpy()
    expected = {name: EXPECTED[name](*y) for name in METRICS if name not in SINGLE_LABEL}
    assert metrics.compute() == pytest.approx(expected, abs=1e-12)


def test_mcc_is_exact_for_billions_of_texts() -> None:
    n = 3 * 10**9  # n**4 is far beyond 64 bits
    counts = Counts(np.array([n, n]), np.array([n, n]), np.array([n, n]), 2 * n, 2 * n, 2)
    assert METRICS["mcc"](counts) == 1.0
    half = Counts(np.array([n, 0]), np.array([n, n]), np.array([2 * n, 0]), n, 2 * n, 2)
    assert METRICS["mcc"](half) == 0.0, "one answer for all"
    third = Counts(np.array([n, n]), np.array([2 * n, n]), np.array([n, 2 * n]), 2 * n, 3 * n, 2)
    assert METRICS["mcc"](third) == pytest.approx(0.5), "2 n * 3 n - 4 n * n over 9 n * n - 5 n * n"


# Losses.


def test_a_mean_loss_is_the_sum_over_all_batches_divided_once() -> None:
    meter = LossMeter()
    meter.update({"loss": torch.tensor(10.0, requires_grad=True)}, {"loss": 4.0})
    meter.update({"loss": torch.tensor(2.0)}, {"loss": 1.0})
    assert meter.compute() == {"loss": 12 / 5}


def test_several_terms_have_their_means_and_their_total() -> None:
    meter = LossMeter()
    meter.update({"words": torch.tensor(6.0), "order": torch.tensor(1.0)}, {"words": 3.0, "order": 2.0})
    assert meter.compute() == {"loss": 2.5, "words": 2.0, "order": 0.5}


def test_a_term_without_a_counted_label_is_zero() -> None:
    meter = LossMeter()
    meter.update({"loss": torch.tensor(0.0)}, {"loss": 0.0})
    assert meter.compute() == {"loss": 0.0}


def test_a_long_epoch_does_not_lose_small_losses() -> None:
    meter = LossMeter()
    for _ in range(1000):
        meter.update({"loss": torch.tensor(1e-4)}, {"loss": 0.0})
        meter.update({"loss": torch.tensor(1e4)}, {"loss": 0.0})
    assert float(meter.sums["loss"]) == pytest.approx(1e7 + 0.1, rel=1e-12, abs=1e-4)


def updated(meter: TrainMeter, first: int, last: int) -> TrainMeter:
    gold, predicted = CASES["random"]
    for i in range(first, last):
        rows = slice(10 * i, 10 * i + 10)
        meter.update({"loss": torch.tensor(0.1 * i)}, {"loss": 10.0}, logits_of(predicted[rows]), batch_of(gold[rows]))
    return meter


def test_a_train_meter_goes_on_from_its_state_as_if_it_had_never_stopped() -> None:
    whole = updated(TrainMeter(ConfusionMatrix(LABELS)), 0, 20)
    resumed = TrainMeter(ConfusionMatrix(LABELS))
    resumed.load_state_dict(updated(TrainMeter(ConfusionMatrix(LABELS)), 0, 7).state_dict())
    updated(resumed, 7, 20)
    assert resumed.take_recent()["loss"] == whole.take_recent()["loss"]
    assert resumed.end_epoch(ConfusionMatrix(LABELS)) == whole.end_epoch(ConfusionMatrix(LABELS))


def test_an_epoch_ends_with_its_own_sums_and_the_next_begins_with_none() -> None:
    meter = updated(TrainMeter(ConfusionMatrix(LABELS)), 0, 4)
    meter.take_recent()
    gold, predicted = CASES["random"]
    expected = filled(gold[:40], predicted[:40], 10).compute() | {"loss": pytest.approx(0.6 / 40)}
    assert meter.end_epoch(ConfusionMatrix(LABELS)) == expected
    assert int(meter.metrics.counts.sum()) == 0
    assert updated(meter, 5, 6).end_epoch(ConfusionMatrix(LABELS))["loss"] == pytest.approx(0.05)


def test_recent_values_are_those_since_the_last_call() -> None:
    meter = updated(TrainMeter(ConfusionMatrix(LABELS)), 0, 1)
    meter.count_step(2.0, 10, 300)
    assert meter.take_recent() == {"loss": 0.0, "texts_per_second": 5.0, "tokens_per_second": 150.0}
    assert meter.note == "loss 0.0000  5 texts/s  150 tokens/s"
    updated(meter, 5, 6)
    meter.count_step(1.0, 10, 100)
    assert meter.take_recent() == pytest.approx({"loss": 0.05, "texts_per_second": 10.0, "tokens_per_second": 100.0})
