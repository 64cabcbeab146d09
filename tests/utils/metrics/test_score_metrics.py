"""Metrics of scores: calibration by hand, ranking against scikit-learn within the error that the histogram states."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from torch import Tensor

from utils.metrics.base import CombinedMetrics
from utils.metrics.labels import IGNORED, ConfusionMatrix
from utils.metrics.scores import SCORES, AreaUnderCurve, CalibrationError, log_odds
from utils.training.train_meter import TrainMeter

L = 4


def batch_of(labels: Tensor) -> SimpleNamespace:
    return SimpleNamespace(columns={"label": labels})


def random_batch(scale: float, *, is_multi_label: bool, num_labels: int = L, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of that size, float32, and labels that they say something of."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(600, num_labels, generator=generator)
    noisy = logits + torch.randn(600, num_labels, generator=generator)
    labels = (noisy > 0.5).float() if is_multi_label else noisy.argmax(dim=-1)
    return logits * scale, labels


def filled(name: str, logits: Tensor, labels: Tensor, batch_size: int = 1000) -> CalibrationError | AreaUnderCurve:
    metrics = SCORES[name](logits.shape[1], is_multi_label=labels.dim() == 2)
    for rows in torch.arange(len(logits)).split(batch_size):
        metrics.update(logits[rows], batch_of(labels[rows]))
    return metrics


def probabilities_of(logits: Tensor, *, is_multi_label: bool) -> np.ndarray:
    wide = logits.double()
    return (wide.sigmoid() if is_multi_label else wide.softmax(dim=-1)).numpy()


# Calibration.


def ece_by_hand(logits: Tensor, labels: Tensor) -> float:
    """Guo et al. 2017, equation 3, one decision after the other."""
    probabilities = probabilities_of(logits, is_multi_label=labels.dim() == 2)
    decisions = []  # (confidence, is right)
    for shares, gold in zip(probabilities, labels.tolist(), strict=True):
        if isinstance(gold, list):
            decisions += [(max(p, 1 - p), (p > 0.5) == bool(g)) for p, g in zip(shares, gold, strict=True)]
        else:
            decisions.append((shares.max(), shares.argmax() == gold))
    error = 0.0
    for m in range(15):
        inside = [(p, right) for p, right in decisions if m / 15 < p <= (m + 1) / 15]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            error += len(inside) / len(decisions) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 5.0, 1e4])
def test_the_calibration_error_is_that_of_the_paper(scale: float, is_multi_label: bool) -> None:
    logits, labels = random_batch(scale, is_multi_label=is_multi_label)
    assert filled("ece", logits, labels, 7).compute()["ece"] == pytest.approx(ece_by_hand(logits, labels), abs=1e-6)


def test_a_calibration_error_that_can_be_computed_in_the_head() -> None:
    logits = torch.tensor([[0.9, 0.1]] * 4 + [[0.3, 0.7]] * 2).log()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])  # 0.9 is right in 3 of 4, 0.7 in both
    expected = 4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(1.0 - 0.7)
    assert filled("ece", logits, labels).compute()["ece"] == pytest.approx(expected, abs=1e-6)


# Ranking.


def areas_by_scikit_learn(logits: Tensor, labels: Tensor) -> float:
    """By log odds in float64, as probabilities of extreme logits are 0 and 1."""
    gold = labels.numpy() if labels.dim() == 2 else labels[:, None].numpy() == np.arange(logits.shape[1])
    scores = logits.double().numpy()
    if labels.dim() == 1:
        others = [np.delete(scores, label, axis=1) for label in range(scores.shape[1])]
        scores = np.stack([scores[:, i] - np.logaddexp.reduce(rest, axis=1) for i, rest in enumerate(others)], axis=1)
    present = [label for label in range(gold.shape[1]) if 0 < gold[:, label].sum() < len(gold)]
    return float(np.mean([roc_auc_score(gold[:, label], scores[:, label]) for label in present]))


def bound_of(metrics: CalibrationError | AreaUnderCurve, num_labels: int) -> float:
    """What the docstring states: half the share of the pairs that share a bin."""
    negative, positive = metrics.counts.view(2, num_labels, -1).double()
    pairs = negative.sum(dim=1) * positive.sum(dim=1)
    shares = (negative * positive).sum(dim=1)[pairs > 0] / pairs[pairs > 0]
    return float(shares.mean()) / 2


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize(("scale", "most"), [(0.0, 0.5), (1e-3, 0.5), (0.3, 0.02), (1.0, 0.01), (10.0, 0.005), (1e4, 0.02)])  # fmt: skip
def test_the_area_is_as_near_to_scikit_learns_as_it_says(scale: float, most: float, is_multi_label: bool) -> None:
    logits, labels = random_batch(scale, is_multi_label=is_multi_label)
    metrics = filled("auroc", logits, labels, 7)
    bound, found = bound_of(metrics, L), metrics.compute()["auroc"]
    assert bound <= most
    assert found == pytest.approx(areas_by_scikit_learn(logits, labels), abs=bound + 1e-7)
    assert scale == 0.0 or most == 0.5 or found == pytest.approx(areas_by_scikit_learn(logits, labels), abs=5e-4)


@pytest.mark.parametrize("num_labels", [2, 3, 20])
def test_the_area_is_scikit_learns_one_versus_rest(num_labels: int) -> None:
    logits, labels = random_batch(2.0, is_multi_label=False, num_labels=num_labels)
    scores = probabilities_of(logits, is_multi_label=False)
    expected = (
        roc_auc_score(labels, scores[:, 1])
        if num_labels == 2
        else roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    )
    assert filled("auroc", logits, labels).compute()["auroc"] == pytest.approx(expected, abs=5e-4)


def test_only_labels_that_some_texts_have_and_others_have_not_are_averaged() -> None:
    logits, labels = random_batch(1.0, is_multi_label=True)
    labels[:, 0], labels[:, 1] = 0.0, 1.0
    found = filled("auroc", logits, labels).compute()["auroc"]
    assert found == pytest.approx(roc_auc_score(labels[:, 2:], logits[:, 2:], average="macro"), abs=5e-4)
    single = torch.randint(2, (600,), generator=torch.Generator().manual_seed(3))  # labels 2 and 3 are nowhere
    assert filled("auroc", logits, single).compute()["auroc"] == pytest.approx(
        areas_by_scikit_learn(logits, single), abs=5e-4
    )


def test_equal_scores_are_half_a_win_and_separate_ones_a_whole() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert filled("auroc", torch.zeros(4, 2), labels).compute() == {"auroc": 0.5}
    apart = torch.tensor([[1e9, 0], [80.0, 0], [79.0, 0], [0, 1e9]])  # p rounds to 1, to 1, to 1 and to 0
    assert filled("auroc", apart, labels).compute() == {"auroc": 1.0}
    assert filled("auroc", apart, 1 - labels).compute() == {"auroc": 0.0}


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 1000.0])
def test_log_odds_keep_what_probabilities_round_away(scale: float) -> None:
    logits, _ = random_batch(scale, is_multi_label=False)
    log_p = log_softmax(logits.double().numpy(), axis=1)
    for label in range(L):
        others = np.logaddexp.reduce(np.delete(log_p, label, axis=1), axis=1)
        found = log_odds(logits, is_multi_label=False)[:, label]
        np.testing.assert_allclose(
            found, log_p[:, label] - others, rtol=1e-5, atol=1e-6 * max(1.0, scale)
        )  # of float32


# As counts.


@pytest.mark.parametrize("name", SCORES)
def test_what_has_no_label_is_not_counted(name: str) -> None:
    logits, labels = random_batch(1.0, is_multi_label=False)
    is_counted = torch.arange(600) % 3 > 0
    expected = filled(name, logits[is_counted], labels[is_counted]).compute()
    assert filled(name, logits, torch.where(is_counted, labels, IGNORED)).compute() == expected
    assert filled(name, logits, torch.full_like(labels, IGNORED)).compute() == {name: 0.0}
    assert filled(name, logits[:0], labels[:0]).compute() == {name: 0.0}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 3e38, -3e38])
@pytest.mark.parametrize("is_multi_label", [False, True])
def test_outputs_that_are_no_numbers_are_counted_as_something(name: str, value: float, is_multi_label: bool) -> None:
    logits, labels = random_batch(1.0, is_multi_label=is_multi_label)
    logits[:301, 0] = value  # an odd number of decisions, with one label a text and with several: 2 * -2**63 is 0
    logits[:50] = value
    for given in (logits, logits.bfloat16(), logits.half()):
        assert 0.0 <= filled(name, given, labels).compute()[name] <= 1.0


def combined() -> CombinedMetrics:
    scores = [kind(L, is_multi_label=False) for kind in SCORES.values()]
    return CombinedMetrics([ConfusionMatrix(list("abcd")), *scores])


def test_combined_counts_add_up_over_parts() -> None:
    logits, labels = random_batch(1.0, is_multi_label=False)
    whole, left, right = combined(), combined(), combined()
    for metrics, rows in ((whole, slice(None)), (left, slice(250)), (right, slice(250, None))):
        metrics.update(logits[rows], batch_of(labels[rows]))
    assert left.compute() != whole.compute()
    left.counts += right.counts
    assert left.report() == whole.report()
    assert whole.counts.dtype == torch.int64
    assert list(whole.report())[:4] == ["accuracy", "macro_f1", "ece", "auroc"]
    alone = {name: filled(name, logits, labels).compute()[name] for name in SCORES}
    assert whole.compute().items() >= alone.items()


def test_a_train_meter_with_scores_goes_on_from_its_state() -> None:
    logits, labels = random_batch(1.0, is_multi_label=False)

    def updated(meter: TrainMeter, rows: slice) -> TrainMeter:
        meter.update({"loss": torch.tensor(1.0)}, {"loss": 1.0}, logits[rows], batch_of(labels[rows]))
        return meter

    resumed = TrainMeter(combined())
    resumed.load_state_dict(updated(TrainMeter(combined()), slice(100)).state_dict())
    whole = updated(updated(TrainMeter(combined()), slice(100)), slice(100, None))
    assert updated(resumed, slice(100, None)).end_epoch(combined()) == whole.end_epoch(combined())
    assert int(whole.metrics.counts.sum()) == 0
