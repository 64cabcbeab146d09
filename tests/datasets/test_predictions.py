"""A line of predictions says what was read, what is predicted and how sure that is."""

import json
from typing import Any

import numpy as np
import pytest

from datasets.predictions import prediction
from datasets.records import Record

LABELS = ["x", "y", "z"]
CASES: list[tuple[tuple[str, ...], list[float], bool, dict[str, Any]]] = [
    (("y",), [0.1, 0.2, 0.7], False, {"gold": "y", "predicted": "z"}),
    ((), [0.5, 0.3, 0.2], False, {"predicted": "x"}),
    (("x", "z"), [0.9, 0.5, 0.6], True, {"gold": ["x", "z"], "predicted": ["x", "z"]}),
    ((), [0.1, 0.2, 0.3], True, {"predicted": []}),
]


@pytest.mark.parametrize(("labels", "probabilities", "is_multi_label", "expected"), CASES)
def test_a_prediction_is_a_line_of_json(
    labels: tuple[str, ...], probabilities: list[float], is_multi_label: bool, expected: dict[str, Any]
) -> None:
    record = Record("file:1", "7", ("a title", "a text"), labels)
    line = prediction(
        record, ["title", "text"], LABELS, np.array(probabilities), is_multi_label=is_multi_label, truncated=True
    )
    assert json.loads(json.dumps(line)) == {
        "id": "7",
        "title": "a title",
        "text": "a text",
        **expected,
        "probabilities": dict(zip(LABELS, probabilities, strict=True)),
        "truncated": True,
    }
