"""The words that a prediction rests on, by occlusion (Zeiler and Fergus 2014): each word is left out, and the change measured."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from agents.running.predictor import Predictor

MAX_OCCLUSIONS = 128  # of a text; the words of a longer one are left out in groups


class WordScore(NamedTuple):
    """A word, or a group of words, of a field. score: the predicted label's probability (or the number) minus that without it."""

    field: str
    word: str
    score: float


def word_scores(predictor: Predictor, text: Mapping[str, str]) -> list[WordScore]:
    """The score of each word of a text, given by its fields, in order; one batched prediction. Raises DataError."""
    words = [(field, *span) for field, value in text.items() for span in _spans(value)]
    size = -(-len(words) // MAX_OCCLUSIONS) or 1
    groups = [(field, own[0][1], own[-1][2]) for field in text for own in _grouped(words, field, size)]
    variants = [{**text, field: text[field][:start] + text[field][end:]} for field, start, end in groups]
    whole, *lines = predictor.predict([text, *variants], on_bad_row="skip")
    value, label = _value(whole, None)
    return [
        WordScore(field, text[field][start:end], value - _value(line, label)[0])
        for (field, start, end), line in zip(groups, lines, strict=True)
    ]


def _spans(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\S+", text)]


def _grouped(words: list[tuple[str, int, int]], field: str, size: int) -> list[list[tuple[str, int, int]]]:
    """The words of a field in groups of neighbours."""
    own = [word for word in words if word[0] == field]
    return [own[i : i + size] for i in range(0, len(own), size)]


def _value(line: Mapping[str, Any], label: str | None) -> tuple[float, str | None]:
    """What a line predicts: (probability, label) of a label, by default the most probable one, or (number, None).

    A text without any word left has no prediction, and counts as 0.
    """
    if line["predicted"] is None:
        return 0.0, label
    probabilities = line.get("probabilities")
    if probabilities is None:
        return float(line["predicted"]), None
    label = max(probabilities, key=probabilities.get) if label is None else label
    return float(probabilities[label]), label
