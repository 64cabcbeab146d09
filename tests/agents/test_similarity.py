"""The siamese agent: what it refuses, and that its answer does not depend on the order of two texts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY_CONFIG, assert_refused, tiny_rows, write_jsonl

from agents import load

Run = Callable[..., "object"]
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


def test_two_texts_in_either_order(run: Run, siamese: Path) -> None:
    result = run("siamese.yaml", "train.num_epochs=8", "head.positive=yes", "name=s")
    assert result.returncode == 0, result.stderr  # type: ignore[attr-defined]
    report = json.loads((siamese / "experiments/s/report.json").read_text())
    assert report["test"]["accuracy"] > report["test"]["majority_accuracy"]
    predictor = load("experiments/s")
    pair = {"title": "trade the queens", "text": "push a pawn"}
    there, back = predictor.predict([pair, {"title": pair["text"], "text": pair["title"]}])
    assert there["probabilities"]["yes"] == pytest.approx(back["probabilities"]["yes"], abs=1e-6)
    assert there["predicted"] == "yes"


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
def test_refusals(run: Run, siamese: Path, words: list[str], said: str) -> None:
    assert_refused(run("siamese.yaml", *words), 2, said)  # type: ignore[arg-type]


def test_three_labels_are_refused(run: Run, siamese: Path) -> None:
    write_jsonl(siamese / "tiny.jsonl", tiny_rows())
    assert_refused(run("siamese.yaml"), 2, "needs two labels", "chess, cooking, sailing")  # type: ignore[arg-type]
