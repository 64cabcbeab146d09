"""A line of predictions says what was read, what is predicted and how sure that is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import load
from agents.classifying.labels import MultiLabel, SingleLabel
from datasets.rows.corpus import Corpus
from datasets.rows.predictions import OWN_KEYS, beside, prediction_line
from datasets.rows.records import Record
from datasets.rows.targets import LabelTarget
from main import main

LABELS = ["x", "y", "z"]
CASES: list[tuple[tuple[str, ...] | None, list[float], Any, bool, dict[str, Any]]] = [
    (("y",), [0.1, 0.2, 0.7], 2, False, {"gold": "y", "predicted": "z"}),
    (None, [0.5, 0.3, 0.2], 0, False, {"predicted": "x"}),  # no label was asked for
    (None, [0.5, 0.5, 0.0], 1, False, {"predicted": "y"}),  # equal in float32 only: the logits decide
    (("x", "z"), [0.9, 0.5, 0.6], [True, False, True], True, {"gold": ["x", "z"], "predicted": ["x", "z"]}),
    (None, [0.1, 0.5, 0.3], [False, True, False], True, {"predicted": ["y"]}),
    (None, [0.1, 0.2, 0.3], [False] * 3, True, {"predicted": []}),
    ((), [0.1, 0.2, 0.9], [False, False, True], True, {"gold": [], "predicted": ["z"]}),  # it was, and there is none
]


@pytest.mark.parametrize(("labels", "probabilities", "decision", "is_multi_label", "expected"), CASES)
def test_a_prediction_is_a_line_of_json(
    labels: tuple[str, ...] | None,
    probabilities: list[float],
    decision: Any,
    is_multi_label: bool,
    expected: dict[str, Any],
) -> None:
    record = Record("file:1", "7", ("a title", "a text"), labels)
    kind, target = (MultiLabel if is_multi_label else SingleLabel)(), LabelTarget(multi_label=is_multi_label)
    corpus = Corpus(None, target, fields=["title", "text"])  # type: ignore[arg-type]
    line = prediction_line(corpus, record, kind.answer(LABELS, np.array(probabilities), decision), truncated=True)
    assert json.loads(json.dumps(line)) == {
        "id": "7",
        "title": "a title",
        "text": "a text",
        **expected,
        "probabilities": dict(zip(LABELS, probabilities, strict=True)),
        "truncated": True,
    }


def test_a_field_may_be_named_like_a_key_that_is_added() -> None:
    line = {"id": "7", "run": "a title", "text": "a text", "predicted": "x"}
    fields = {"run": "a title", "text": "a text"}
    assert beside(line, [*fields], {"run"}) == {"id": "7", "fields": fields, "predicted": "x"}
    assert beside(line, [*fields], {"words"}) is line
    nested = {"id": "7", "fields": {"predicted": "a title", "run": "a text"}, "predicted": "x"}
    assert beside(nested, ["predicted", "run"], {"run"}) is nested


@pytest.mark.parametrize("name", sorted(OWN_KEYS))
def test_a_field_may_be_named_like_another_key_of_the_line(name: str) -> None:
    """All texts have a place of their own then, as joins by one name should not depend on the others."""
    record = Record("file:1", "7", ("a title", "a text"), ("y",))
    answer = SingleLabel().answer(LABELS, np.array([0.1, 0.2, 0.7]), 2)
    usual, line = (
        prediction_line(Corpus(None, LabelTarget(label="y"), fields=fields), record, answer, truncated=False)  # type: ignore[arg-type]
        for fields in (["title", "text"], ["title", name])
    )
    assert line.pop("fields") == {"title": "a title", name: "a text"}
    assert line == {key: value for key, value in usual.items() if key not in ("title", "text")}
    assert set(usual) - {"title", "text"} <= OWN_KEYS


def test_a_run_whose_fields_have_the_names_of_other_keys(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of mistakes, the file of the run and what `predict` and `load` say hold the texts and what is predicted."""
    fields = ["predicted", *sorted(OWN_KEYS - {"predicted"})]
    rows = [{name: f"{name} {row['text']}" for name in fields} | {"label": row["label"]} for row in tiny_rows()]
    write_jsonl(workplace / "tiny.jsonl", rows)
    words = [f"data.fields=[{', '.join(fields)}]", "data.join_fields=true", "train.num_epochs=1", "optimizer.lr=0.0001"]
    assert main(["tiny.yaml", "name=x", *words]) == 0
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    by_place = {f"tiny.jsonl:{i}": row for i, row in enumerate(rows, 1)}
    for line in lines:
        row = by_place[line["id"]]
        assert line["fields"] == {name: row[name] for name in fields}
        assert line["gold"] == row["label"]
        assert line["predicted"] == max(line["probabilities"], key=line["probabilities"].get)
    events = EventAccumulator("experiments/x").Reload()
    (table,) = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("test/mistakes/text_summary")]
    shown = [line for line in lines if line["id"] in table]
    assert shown
    assert all(line["fields"]["predicted"] in table for line in shown)
    capsys.readouterr()
    assert main(["predict", "experiments/x", "--input", "tiny.jsonl"]) == 0
    found = {line["id"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    alone = load("experiments/x").predict([row["fields"] for row in lines])
    for line, again in zip(lines, alone, strict=True):
        assert line["predicted"] == found[line["id"]]["predicted"] == again["predicted"]
        assert line["fields"] == found[line["id"]]["fields"] == again["fields"]
