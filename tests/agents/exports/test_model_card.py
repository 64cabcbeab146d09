"""The model card of a bundle: what Hugging Face reads of it, and figures by hand."""

from typing import Any

import pytest
import yaml

from agents.exports.model_card import model_card
from utils.config.config import Config

DATA = {
    "name": "files",
    "train": "a|b.csv",
    "fields": ["text"],
    "multi_label": False,
    "max_length": 20,
    "long_texts": "head",
}
VALUES = {
    "name": "mine",
    "agent": "classification",
    "seed": 3,
    "init_from": None,
    "data": DATA,
    "model": {"name": "bilstm"},
}
ROW = {"precision": 0.5, "recall": 0.25, "f1": 0.3333, "support": 10}
REPORT: dict[str, Any] = {
    "test": {"loss": 0.5, "accuracy": 0.8, "per_class": {"good": ROW, "<b>": ROW | {"support": 0}}},
    "data": {"test": {"read": 12, "used": 10}, "truncated": {"test": 0.25}, "warnings": ["3 texts are in train, too"]},
    "train": {"epochs": 1, "steps": 7, "seconds": 2.0},
    "parameters": 1234,
    "versions": {"torch": "2"},
}


@pytest.fixture
def config() -> Config:
    return Config(VALUES, "config.yaml", {})


def test_the_head_is_what_hugging_face_reads(config: Config) -> None:
    card = model_card(config, ["good", "<b>"], REPORT, {"data": "abc"}, 12)
    _, head, _ = card.split("---\n", 2)
    values = yaml.safe_load(head)
    (result,) = values["model-index"][0]["results"]
    assert values["pipeline_tag"] == result["task"]["type"] == "text-classification"
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {"loss": 0.5, "accuracy": 0.8}


def test_the_figures_and_the_limits_are_those_of_the_run(config: Config) -> None:
    card = model_card(config, ["good", "<b>"], REPORT, {"data": "abc"}, 12)
    # Wilson (1927) by hand: p = 0.8, n = 10, z = 1.959964: centre 0.7167, half width 0.2266
    assert "| accuracy | 0.8000 [0.4902, 0.9433] |" in card
    for line in (
        "- hash: abc",
        "- source: files (a\\|b.csv)",
        "- test: 10 of 12 rows",
        "- warning: 3 texts are in train, too",
    ):
        assert line in card
    assert "more than 20 tokens are truncated (`head`), as 25% of the test texts were" in card
    assert "Not measured, as the test has no text of them: &lt;b>" in card


def test_a_run_that_has_not_finished_has_no_figures(config: Config) -> None:
    card = model_card(config, ["good", "bad"], {}, {}, 12)
    assert "The run has no report of a test." in card
    assert "model-index" not in card
    assert "- hash: not known" in card
