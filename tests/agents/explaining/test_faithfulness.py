"""Deletions against predictions of texts shortened by hand, intervals against scipy's bootstrap."""

import numpy as np
import pytest
from explained_runs import TEXT, opened, record_of
from scipy import stats

from agents.explaining.attribution import Explainer, Explanation
from agents.explaining.faithfulness import DRAWS, NAMES, Faithfulness

WORDS = [*TEXT["title"].split(), *TEXT["text"].split()]  # 3 and 12: the top 10% are 2 of 15


def ranked(explainer: Explainer, best: list[int]) -> Explanation:
    """The text with the highest scores at these words."""
    found = explainer.explain(record_of(explainer.predictor))
    scores = np.zeros(len(WORDS))
    scores[best] = [2.0, 1.0][: len(best)]
    return Explanation(found.reading, found.method, found.label, found.evidence, scores)


def test_the_falls_are_those_of_texts_shortened_by_hand() -> None:
    explainer = Explainer(opened("two fields"), "gradient_x_input", "chess")

    def chess(title: str, text: str) -> float:
        return float(explainer.predictor.predict([{"title": title, "text": text}])[0]["probabilities"]["chess"])

    check = Faithfulness(explainer)
    check.add(ranked(explainer, [1, 6]))  # "the" of the title, "and" of the text
    whole, without = chess(**TEXT), chess("Boil rice", TEXT["text"].replace("SOUP and", "SOUP"))
    assert check.falls[0][0] == pytest.approx(whole - without, abs=1e-5)
    check.add(ranked(explainer, [3, 13]))
    alone = whole - float(
        explainer.values(
            explainer.evidence_of([record_of(explainer.predictor)._replace(texts=("", "Salt king"))], "chess")
        )[0]
    )
    assert check.falls[1][2] == pytest.approx(alone, abs=1e-5)


def test_of_one_word_the_top_is_the_random_word() -> None:
    explainer = Explainer(opened("several labels"), "occlusion", "chess")
    check = Faithfulness(explainer)
    check.add(explainer.explain(record_of(explainer.predictor, "king")))
    np.testing.assert_allclose(check.falls[0][[0, 2]], check.falls[0][[1, 3]], atol=1e-6)
    assert check.falls[0][2] == pytest.approx(0, abs=1e-6), "with the word alone nothing changes"
    found = check.summary()
    assert found["comprehensiveness"]["low"] is found["comprehensiveness"]["high"] is None, (
        "one text says nothing of others"
    )


def test_random_words_fall_by_what_words_fall_by_on_average() -> None:
    """Over many texts of nine words, of each of which one is deleted: the mean over all nine."""
    explainer = Explainer(opened("several labels"), "occlusion", "chess")
    text = "salt the soup and bake a fresh loaf again"
    found, check = explainer.explain(record_of(explainer.predictor, text)), Faithfulness(explainer)
    for _ in range(60):
        check.add(found)
    whole = explainer.values(found.evidence)
    falls = [whole - explainer.values(found.evidence - score) for score in found.scores]
    deviation = np.std(falls) / np.sqrt(60 * DRAWS)
    random = [fall[1] for fall in check.falls]
    assert np.mean(random) == pytest.approx(np.mean(falls), abs=4 * deviation)
    assert np.std(random) == pytest.approx(np.std(falls) / np.sqrt(DRAWS), rel=0.4)
    assert check.falls[0][0] == pytest.approx(max(falls), abs=1e-5)


def test_intervals_are_scipys() -> None:
    check = Faithfulness(Explainer(opened("several labels"), "occlusion"))
    generator = np.random.default_rng(1)
    falls = generator.normal([0.3, 0.1, 0.05, 0.2], [0.1, 0.05, 0.1, 0.1], (80, 4))
    check.falls = list(falls)
    found, options = check.summary(), {"n_resamples": 5000, "method": "percentile", "random_state": 0}
    for name, values in zip(NAMES, falls.T, strict=True):
        interval = stats.bootstrap((values,), np.mean, **options).confidence_interval
        assert found[name]["mean"] == pytest.approx(values.mean())
        assert [found[name]["low"], found[name]["high"]] == pytest.approx(list(interval), abs=4e-3)

    def ratio(top: np.ndarray, random: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(top.mean(axis=axis) / random.mean(axis=axis))

    interval = stats.bootstrap((falls[:, 0], falls[:, 1]), ratio, paired=True, **options).confidence_interval
    assert found["ratio"]["mean"] == pytest.approx(falls[:, 0].mean() / falls[:, 1].mean())
    assert [found["ratio"]["low"], found["ratio"]["high"]] == pytest.approx(list(interval), rel=0.03)


def test_a_ratio_has_no_bound_where_random_words_may_change_nothing() -> None:
    check = Faithfulness(Explainer(opened("several labels"), "occlusion"))
    check.falls = [np.array([0.5, fall, 0.0, 0.0]) for fall in (0.3, -0.1, -0.1, 0.0)]
    found = check.summary()["ratio"]
    assert found["low"] > 1
    assert found["high"] is None
    check.falls = [np.array([0.5, -0.1, 0.0, 0.0])] * 3
    assert check.summary()["ratio"] is None
    check.falls = []
    assert check.summary() == {"texts": 0, "share": 0.1, "draws": 10}
