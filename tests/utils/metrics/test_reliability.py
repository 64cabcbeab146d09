"""The bins of a calibration plot: by hand, and their error against the metric of the same name."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agents.classifying.labels import MultiLabel, SingleLabel
from utils.metrics.reliability import NUM_BINS, Reliability, bins_of
from utils.metrics.scores import CalibrationError

LABELS = ["a", "b", "c"]


def line(gold: Any, predicted: Any, *probabilities: float) -> dict[str, Any]:
    return {"gold": gold, "predicted": predicted, "probabilities": dict(zip(LABELS, probabilities, strict=True))}


def test_one_label_a_text_by_hand() -> None:
    """Bins of 1/15: 0.5 is in the eighth (7/15, 8/15], 0.9 in the fourteenth (13/15, 14/15], 1.0 in the last."""
    found = Reliability.of(
        [
            line("a", "a", 0.5, 0.3, 0.2),
            line("b", "a", 0.5, 0.3, 0.2),
            line("b", "b", 0.06, 0.9, 0.04),
            line("c", "c", 0, 0, 1.0),
            line("d", "c", 0, 0, 1.0),  # of no known label
        ]
    )
    assert {i: n for i, n in enumerate(found.counts.tolist()) if n} == {7: 2, 13: 1, 14: 2}
    assert found.accuracy[[7, 13, 14]].tolist() == [0.5, 1.0, 0.5]
    assert found.shares[[7, 13, 14]].tolist() == pytest.approx([0.4, 0.2, 0.4])
    # Gaps: 0.5 - 0.5, 1 - 0.9 and 0.5 - 1, weighted by 2, 1 and 2 of 5.
    assert found.error == pytest.approx((0 * 2 + 0.1 * 1 + 0.5 * 2) / 5)


def test_several_labels_a_text_by_hand() -> None:
    """Each label is a decision: a predicted at 0.8 and gold (right), b left out at 0.3 (confidence 0.7) and gold (wrong), c at 0.1."""
    found = Reliability.of([line(["a", "b"], ["a"], 0.8, 0.3, 0.1)])
    assert np.flatnonzero(found.counts).tolist() == [10, 11, 13]  # 0.7 * 15 = 10.5, 0.8 * 15 = 12, 0.9 * 15 = 13.5
    assert found.accuracy[[10, 11, 13]].tolist() == [0, 1, 1]
    assert found.error == pytest.approx((0.7 + 0.2 + 0.1) / 3)


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    edges = (np.arange(1, NUM_BINS + 1) / NUM_BINS).astype(np.float32)
    on_device = (torch.from_numpy(edges) * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    assert bins_of(edges).tolist() == on_device.tolist() == list(range(NUM_BINS))
    assert bins_of(np.array([0, 1e-9, 1 + 1e-6], dtype=np.float32)).tolist() == [0, 0, NUM_BINS - 1]


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_the_error_is_that_of_the_metric(is_multi_label: bool, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(500, 3, generator=generator)
    gold = (torch.rand(500, 3, generator=generator) < 0.4).float() if is_multi_label else torch.arange(500) % 3
    metric = CalibrationError(3, is_multi_label=is_multi_label)
    metric.update(logits, SimpleNamespace(columns={"label": gold}))
    kind = MultiLabel() if is_multi_label else SingleLabel()
    answers = zip(kind.probabilities(logits).numpy(), kind.decide(logits).tolist(), strict=True)
    lines = [
        kind.answer(LABELS, *answer) | {"gold": kind.named(LABELS, own)}
        for answer, own in zip(answers, gold.bool().tolist() if is_multi_label else gold.tolist(), strict=True)
    ]
    assert Reliability.of(lines).error == pytest.approx(metric.compute()["ece"], abs=1e-6)
