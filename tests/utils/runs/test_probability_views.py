"""Precision-recall curves and the calibration plot: scikit-learn's values, pixels by hand, labels that are called anything."""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve
from tensorboard.backend import application
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.pr_curve.pr_curves_plugin import PrCurvesPlugin
from tensorboard.util.tensor_util import make_ndarray
from werkzeug.test import Client

from utils.metrics.reliability import Reliability
from utils.runs.probability_views import (
    BLUE,
    GAP,
    MARGIN,
    MAX_CURVES,
    PLOT,
    draw_calibration,
    frequent_labels,
    tags_of,
    write_probability_views,
)
from utils.runs.run_log import RunLog

ODD = [
    "a/b",
    "/",
    "<b>&amp;",
    "*x* | _y_",
    "体育",
    "⚽\u202e",
    "a\tb\nc",
    "\ud800",
    "#?&run=x%2F",
    "",
    "x" * 300,
    "x" * 301,
]


def lines_of(labels: list[str], *, is_multi_label: bool = False, size: int = 200) -> list[dict[str, Any]]:
    """Predictions that are right more often than not."""
    generator, lines = np.random.default_rng(1), []
    for i in range(size):
        is_gold = np.arange(len(labels)) == i % len(labels)
        if is_multi_label:
            is_gold |= generator.random(len(labels)) < 0.2
        scores = np.clip(0.4 * is_gold + 0.6 * generator.random(len(labels)), 0, 1)
        shares = scores if is_multi_label else scores / scores.sum()
        gold = [label for label, own in zip(labels, is_gold, strict=True) if own]
        predicted: Any = labels[int(shares.argmax())]
        if is_multi_label:
            predicted = [label for label, p in zip(labels, shares, strict=True) if p > 0.5]
        probabilities = dict(zip(labels, shares.tolist(), strict=True))
        lines.append(
            {"gold": gold if is_multi_label else gold[0], "predicted": predicted, "probabilities": probabilities}
        )
    return lines


def written(folder: Path, lines: list[dict[str, Any]], *, has_error: bool = False) -> EventAccumulator:
    log = RunLog(folder)
    log.open_at(0, {})
    write_probability_views(log, "test", lines, 7, has_error=has_error)
    log.close()
    return EventAccumulator(str(folder)).Reload()


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_curves_are_scikit_learns(tmp_path: Path, is_multi_label: bool) -> None:
    lines = lines_of(["a", "b", "c"], is_multi_label=is_multi_label)
    events = written(tmp_path, lines)
    for label in ("a", "b", "c"):
        (event,) = events.Tensors(f"test/pr/{label}")
        assert event.step == 7
        tp, fp, tn, fn, precision, recall = make_ndarray(event.tensor_proto)
        is_gold = [label in line["gold"] if is_multi_label else label == line["gold"] for line in lines]
        scores = [line["probabilities"][label] for line in lines]
        expected = precision_recall_curve(is_gold, scores)
        num_compared = 0
        for i, threshold in enumerate(np.linspace(0, 1, len(precision))):
            place = int(np.searchsorted(expected[2], threshold))  # the lowest score that is predicted
            if place < len(expected[2]):
                num_compared += 1
                assert precision[i] == pytest.approx(expected[0][place])
                assert recall[i] == pytest.approx(expected[1][place])
            assert tp[i] + fn[i] == sum(is_gold)
            assert tp[i] + fp[i] + tn[i] + fn[i] == len(lines)
        assert num_compared > 40


def test_the_most_frequent_labels_have_curves_and_those_without_texts_have_none() -> None:
    labels = [f"label {i}" for i in range(40)]
    shares = dict.fromkeys(labels, 1 / 40)
    golds = [label for i, label in enumerate(labels[:30]) for _ in range(i + 1)]
    lines = [{"gold": gold, "predicted": labels[0], "probabilities": shares} for gold in golds]
    assert frequent_labels(lines) == labels[29 : 29 - MAX_CURVES : -1]
    assert frequent_labels(lines[:1]) == labels[:1]
    assert frequent_labels([line | {"gold": [line["gold"], "label 3"]} for line in lines])[0] == "label 3"


def test_labels_of_any_name_have_curves_that_tensorboard_serves(tmp_path: Path) -> None:
    written(tmp_path / "run", lines_of(ODD))
    tags = [f"test/pr/{name}" for name in tags_of(ODD)]
    assert tags[0] == "test/pr/a/b"
    assert len(set(tags)) == len(ODD) <= MAX_CURVES
    assert max(map(len, tags)) < 100
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    context = TBContext(data_provider=data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path)))
    client = Client(application.TensorBoardWSGI([PrCurvesPlugin(context)], "", context.data_provider))
    shown = json.loads(client.get("/data/plugin/pr_curves/tags").data)
    assert set(shown["run"]) == set(tags)
    for tag in tags:
        query = urllib.parse.urlencode({"tag": tag, "run": "run"})
        (curve,) = json.loads(client.get(f"/data/plugin/pr_curves/pr_curves?{query}").data)["run"]
        assert 10 < len(curve["precision"]) == len(curve["recall"])  # without thresholds above all scores


def test_the_error_is_a_scalar_once_whoever_writes_it(tmp_path: Path) -> None:
    lines = lines_of(["a", "b"])
    events = written(tmp_path / "without", lines)
    (point,) = events.Scalars("with_best_weights/test_ece")
    assert point.value == pytest.approx(Reliability.of(lines).error)
    assert events.Tags()["images"] == ["test/calibration"]
    assert written(tmp_path / "with", lines, has_error=True).Tags()["scalars"] == []


def test_a_bar_is_as_high_as_its_accuracy() -> None:
    """Half of the texts at a confidence of 0.5 are right, three of four at 0.9, all in the two thirds and one third of the texts."""
    of = {"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}
    rows = [("a", of[0])] * 4 + [("b", of[0])] * 4 + [("a", of[1])] * 3 + [("b", of[1])]
    image = draw_calibration(
        Reliability.of([{"gold": gold, "predicted": "a", "probabilities": shares} for gold, shares in rows])
    )
    plot = (image[GAP + 2 : GAP + PLOT - 1, MARGIN + 2 : MARGIN + PLOT - 1] == BLUE).all(axis=2)

    def height(place: int) -> int:
        return PLOT - 2 - int(np.flatnonzero(plot[:, place])[0])

    middle = PLOT / 15  # width of a bin
    assert height(int(7.3 * middle)) == pytest.approx(PLOT * 0.5, abs=2)
    assert height(int(13.3 * middle)) == pytest.approx(PLOT * 0.75, abs=2)
    assert not plot[:, : int(7 * middle) - 3].any()
    assert not plot[:, int(8 * middle) + 1 : int(13 * middle) - 3].any()
