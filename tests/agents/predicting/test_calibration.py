"""Temperatures against scipy's minimiser, and what they do to probabilities whose truth is known."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from agents.predicting.calibration import BOUNDS, calibrate, fit_temperature

SIZES = [(40, 2), (300, 5), (1000, 20)]


def drawn(num_texts: int, num_labels: int, *, is_multi_label: bool, sharpness: float = 3.0) -> tuple[Tensor, Tensor]:
    """Labels drawn from the probabilities of some logits, and logits that are `sharpness` times as large."""
    generator = torch.Generator().manual_seed(num_texts)
    logits = 1.5 * torch.randn(num_texts, num_labels, generator=generator)
    if is_multi_label:
        labels = (torch.rand(logits.shape, generator=generator) < logits.sigmoid()).float()
    else:
        labels = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
    return sharpness * logits, labels


def minimum(logits: Tensor, labels: Tensor, *, is_multi_label: bool) -> float:
    """The temperature of least NLL, by scipy from the definition."""
    z, gold = logits.double().numpy(), labels.numpy()

    def nll(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        if is_multi_label:
            return float((np.logaddexp(0, scaled) - gold * scaled).sum())
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(z)), gold]).sum())

    return float(np.exp(minimize_scalar(nll, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-9}).x))


@pytest.mark.parametrize(("num_texts", "num_labels"), SIZES)
def test_the_temperature_is_that_of_scipy(num_texts: int, num_labels: int) -> None:
    logits, labels = drawn(num_texts, num_labels, is_multi_label=False)
    found = fit_temperature(logits, labels, is_multi_label=False)
    assert found.item() == pytest.approx(minimum(logits, labels, is_multi_label=False), rel=1e-4)


@pytest.mark.parametrize(("num_texts", "num_labels"), SIZES)
def test_each_of_several_labels_has_its_own(num_texts: int, num_labels: int) -> None:
    logits, labels = drawn(num_texts, num_labels, is_multi_label=True)
    logits = logits * torch.linspace(0.3, 3.0, num_labels)
    found = fit_temperature(logits, labels, is_multi_label=True).tolist()
    for i in range(num_labels):
        best = minimum(logits[:, [i]], labels[:, [i]], is_multi_label=True)
        assert found[i] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_logits_that_are_three_times_too_large_are_divided_by_three(is_multi_label: bool) -> None:
    logits, labels = drawn(20_000, 4, is_multi_label=is_multi_label)
    found = calibrate(logits, labels, is_multi_label=is_multi_label)
    assert found.temperature == pytest.approx([3.0] * len(found.temperature), rel=0.05)
    assert found.nll[1] < found.nll[0]
    assert found.ece[1] < 0.01 < 0.1 < found.ece[0]


def test_what_has_no_minimum_stays_in_bounds() -> None:
    logits = 0.5 * torch.eye(4)
    assert fit_temperature(logits, torch.arange(4), is_multi_label=False).item() == pytest.approx(BOUNDS[0])
    assert fit_temperature(logits, (torch.arange(4) + 1) % 4, is_multi_label=False).item() == pytest.approx(BOUNDS[1])
    labels = torch.tensor([[1.0, 0.0, 1.0, 0.0]]).repeat(4, 1)
    assert fit_temperature(logits, labels, is_multi_label=True).tolist() == [1.0] * 4, "they tell nothing"


def test_the_gold_probabilities_are_those_of_both_temperatures() -> None:
    logits, labels = drawn(50, 3, is_multi_label=False)
    found = calibrate(logits, labels, is_multi_label=False)
    for temperature, gold in zip([1.0, found.temperature[0]], found.gold, strict=True):
        shares = np.exp(logits.double().numpy() / temperature)
        expected = (shares / shares.sum(axis=1, keepdims=True))[np.arange(50), labels.numpy()]
        assert gold == pytest.approx(sorted(expected), rel=1e-5)
