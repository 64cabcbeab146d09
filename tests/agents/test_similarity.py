"""The siamese agent: what it refuses, and that its answer does not depend on the order of two texts."""

import json
from pathlib import Path

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from agents.serving.served_run import ServedRun
from main import main
from utils.errors import DataError

CONFIG = (
    TINY_CONFIG.replace("classification", "similarity")
    .replace("hidden_sizes: [8]", "threshold: 0.2")
    .replace("  dropout: 0.1\noptimizer", "optimizer")
)


@pytest.fixture
def siamese(workplace: Path) -> Path:
    """The workplace with pairs of which those about chess are `yes`, and siamese.yaml."""
    rows = [row | {"label": "yes" if row["label"] == "chess" else "no"} for row in tiny_rows()]
    write_jsonl(workplace / "tiny.jsonl", rows)
    (workplace / "siamese.yaml").write_text(CONFIG)
    return workplace


def test_two_texts_in_either_order(siamese: Path) -> None:
    assert main(["siamese.yaml", "train.num_epochs=8", "head.positive=yes", "name=s"]) == 0
    report = json.loads((siamese / "experiments/s/report.json").read_text())
    assert report["test"]["accuracy"] > report["test"]["majority_accuracy"]
    predictor = load("experiments/s")
    pair = {"title": "trade the queens", "text": "push a pawn"}
    there, back = predictor.predict([pair, {"title": pair["text"], "text": pair["title"]}])
    assert there["probabilities"]["yes"] == pytest.approx(back["probabilities"]["yes"], abs=1e-6)
    assert there["predicted"] == "yes"
    with pytest.raises(DataError, match="this run reads pairs: give each text as"):
        predictor.predict(["trade the queens"])
    assert ServedRun("s", siamese / "experiments/s", "cpu").is_pair


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.fields=[text]"], "two fields"),
        (["data.pair=true"], "data.pair: true does not fit"),
        (["data.multi_label=true"], "data.multi_label: true does not fit"),
        (["data.join_fields=true"], "data.join_fields: true does not fit"),
        (["head.positive=maybe"], "head.positive is maybe"),
        (["head.threshold=2"], "threshold must be a cosine"),
        (["head={hidden_sizes: [3]}"], "hidden_sizes"),
    ],
)
def test_refusals(siamese: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["siamese.yaml", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_three_labels_are_refused(siamese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(siamese / "tiny.jsonl", tiny_rows())
    assert main(["siamese.yaml"]) == 2
    assert "needs two labels" in (line := capsys.readouterr().err.splitlines()[-1])
    assert "chess, cooking, sailing" in line
