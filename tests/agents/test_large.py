"""As many labels and words as nobody expects: they work, or are refused with the limit named."""

import json
from pathlib import Path

import pytest
from conftest import Run, assert_refused, write_jsonl

from main import main

BAG = ["model={name: bag_of_embeddings, embedding_size: 4}", "optimizer={name: Adagrad, lr: 0.1}", "train.num_epochs=1"]


def test_a_hundred_thousand_labels_are_refused_with_the_limit(workplace: Path, run: Run) -> None:
    write_jsonl(workplace / "many.jsonl", [{"text": "a text", "label": f"label {i}"} for i in range(100_000)])
    result = run("tiny.yaml", "data.train=many.jsonl", "data.fields=[text]", *BAG)
    assert_refused(result, 3, "many.jsonl", "100,000 labels", "at most 5,000")


@pytest.mark.parametrize("num_labels", [5000])
def test_as_many_labels_as_are_allowed_are_trained(workplace: Path, num_labels: int) -> None:
    rows = [
        {"text": f"word{i % num_labels} and more", "label": f"label {i % num_labels}"} for i in range(3 * num_labels)
    ]
    write_jsonl(workplace / "many.jsonl", rows[: 2 * num_labels])
    write_jsonl(workplace / "other.jsonl", rows[2 * num_labels : 2 * num_labels + 200])
    files = ["data.train=many.jsonl", "data.valid=other.jsonl", "data.test=other.jsonl", "data.fields=[text]"]
    assert main(["tiny.yaml", "name=many", *files, *BAG, "train.batch_size=512"]) == 0
    report = json.loads((workplace / "experiments/many/report.json").read_text())
    assert len(report["test"]["per_class"]) == num_labels


def test_a_vocabulary_of_a_million_words_is_trained_and_predicts(workplace: Path, run: Run) -> None:
    num_words = 1_000_000
    texts = [" ".join(f"w{i}" for i in range(start, start + 100)) for start in range(0, num_words, 100)]
    write_jsonl(workplace / "words.jsonl", [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts)])
    options = ["data.train=words.jsonl", "data.fields=[text]", "data.split=[1.0, 0.0, 0.0]", "train.batch_size=512"]
    write_jsonl(workplace / "test.jsonl", [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts[:50])])
    options += ["data.valid=test.jsonl", "data.test=test.jsonl"]
    assert main(["tiny.yaml", "name=words", *options, *BAG]) == 0
    report = json.loads((workplace / "experiments/words/report.json").read_text())
    assert report["parameters"] > 4 * num_words
    result = run("predict", "experiments/words", "--text", "w17 w999999")
    assert json.loads(result.stdout)["predicted"] in ("a", "b"), result.stderr
