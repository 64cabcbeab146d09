"""Labels that are called as Python, YAML or a config calls something: trained with weights, resumed, tested and predicted."""

import json
from pathlib import Path

import pytest
from conftest import tiny_rows, write_jsonl

from agents import load
from main import main

NAMES = {"cooking": "update", "sailing": "__class__", "chess": "null"}


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_labels_are_data_from_the_config_to_the_prediction(workplace: Path, loss: str) -> None:
    is_multi_label = loss == "binary_cross_entropy"
    rows = [row | {"label": NAMES[row["label"]]} for row in tiny_rows()]
    write_jsonl(
        workplace / "x.jsonl", [row | {"label": [row["label"]] if is_multi_label else row["label"]} for row in rows]
    )
    words = ["tiny.yaml", "name=x", "data.train=x.jsonl", "loss.class_weights={update: 2.0, __class__: 3.0, null: 0.5}"]
    words += ["data.multi_label=true"] if is_multi_label else []
    for num_epochs in (8, 9):  # the second start goes on
        assert main([*words, f"train.num_epochs={num_epochs}"]) == 0
    assert main(["test", "experiments/x", "--data", "x.jsonl"]) == 0
    report = json.loads((workplace / "experiments" / "x" / "report.json").read_text())
    assert list(report["test"]["per_class"]) == sorted(NAMES.values())
    (line,) = load("experiments/x").predict([{"title": None, "text": rows[0]["text"]}])
    assert line["title"] == ""
    assert set(line["probabilities"]) == set(NAMES.values())
    assert line["predicted"] in ("update", ["update"])
