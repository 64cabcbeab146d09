"""Occlusion against models whose probabilities are known by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agents.serving.words import MAX_OCCLUSIONS, word_scores

WEIGHTS = {"goal": 0.3, "bank": -0.2, "late": 0.1}


class ByHand:
    """Predicts sports with probability 0.5 plus the weights of the words; a text without a word is skipped."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict(self, texts: Sequence[Mapping[str, str]], *, on_bad_row: str) -> list[dict[str, Any]]:
        assert on_bad_row == "skip"
        self.asked = [" ".join(text.values()) for text in texts]
        return [self._line(text) for text in self.asked]

    def _line(self, text: str) -> dict[str, Any]:
        if not text.split():
            return {"predicted": None, "problem": "no text"}
        sports = 0.5 + sum(WEIGHTS.get(word, 0.0) for word in text.split())
        probabilities = {"business": 1 - sports, "sports": sports}
        return {"predicted": max(probabilities, key=probabilities.get), "probabilities": probabilities}  # type: ignore[arg-type]


class Number(ByHand):
    def _line(self, text: str) -> dict[str, Any]:
        return {"predicted": None} if not text.split() else {"predicted": float(len(text.split()))}


def test_a_words_score_is_the_probability_it_adds() -> None:
    predictor = ByHand()
    found = word_scores(predictor, {"title": "late", "text": "a  goal\nof the bank"})  # type: ignore[arg-type]
    assert [(each.field, each.word) for each in found] == [
        ("title", "late"), ("text", "a"), ("text", "goal"), ("text", "of"), ("text", "the"), ("text", "bank"),
    ]  # fmt: skip
    assert [each.score for each in found] == pytest.approx([0.1, 0, 0.3, 0, 0, -0.2])
    assert predictor.asked[0] == "late a  goal\nof the bank"
    assert predictor.asked[3] == "late a  \nof the bank"  # nothing else of the text changes


def test_the_label_is_that_of_the_whole_text_even_where_another_wins_without_the_word() -> None:
    found = word_scores(ByHand(), {"text": "goal bank bank"})  # type: ignore[arg-type]
    assert [each.score for each in found] == pytest.approx([-0.3, 0.2, 0.2])  # business 0.6, without a bank 0.4


def test_the_only_word_of_a_text_has_its_whole_probability() -> None:
    (found,) = word_scores(ByHand(), {"text": "goal"})  # type: ignore[arg-type]
    assert found.score == pytest.approx(0.8)


def test_a_number_falls_by_what_a_word_adds() -> None:
    assert [each.score for each in word_scores(Number(), {"text": "one two three"})] == [1.0, 1.0, 1.0]  # type: ignore[arg-type]


def test_a_long_text_is_left_out_in_groups() -> None:
    predictor = ByHand()
    text = " ".join(["word"] * 999 + ["goal"])
    found = word_scores(predictor, {"text": text})  # type: ignore[arg-type]
    assert len(predictor.asked) - 1 == len(found) <= MAX_OCCLUSIONS
    assert " ".join(each.word for each in found) == text
    assert [each.score for each in found] == pytest.approx([0.0] * (len(found) - 1) + [0.3])
