"""What training measured, what `test` measures, and what can be counted from what `predict` writes, are the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, tiny_rows, write_jsonl
from sklearn import metrics as sklearn

from main import main

MODELS = {
    "bilstm": [],
    "bag_of_embeddings": [
        "model={name: bag_of_embeddings, embedding_size: 8}",
        "optimizer={name: Adagrad, lr: 0.05}",
        "tokenizer={name: word, ngrams: 2}",
    ],
    "averaged and mixed": [
        "model={name: bag_of_embeddings, embedding_size: 8}",
        "average={decay: 0.9}",
        "train.precision=mixed",
    ],
}


@pytest.mark.parametrize("model", MODELS)
def test_training_test_and_predict_agree(
    workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    rows = [row | {"label": "sailing"} if i % 11 == 0 else row for i, row in enumerate(tiny_rows(200))]  # not all right
    write_jsonl(workplace / "train.jsonl", rows[:120])
    write_jsonl(workplace / "test.jsonl", rows[120:])
    data = ["data.train=train.jsonl", "data.test=test.jsonl", "data.split=[0.8, 0.2, 0.0]"]
    assert main(["tiny.yaml", "name=x", "train.num_epochs=3", *data, *MODELS[model]]) == 0
    trained = json.loads((workplace / "experiments/x/report.json").read_text())["test"]
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    write_jsonl(workplace / "reversed.jsonl", rows[:119:-1])  # other labels first
    for file in ("test.jsonl", "reversed.jsonl"):
        tested = json.loads(run("test", "experiments/x", "--data", file, "--json").stdout)
        assert tested.pop("loss") == pytest.approx(trained["loss"], abs=1e-6)
        assert tested.pop("data") == {"read": 80, "used": 80, "skipped": {}}
        assert tested == {name: value for name, value in trained.items() if name != "loss"}
    written = [json.loads(line) for line in (workplace / "experiments/x/predictions.jsonl").read_text().splitlines()]
    predicted = [
        json.loads(line) for line in run("predict", "experiments/x", "--input", "test.jsonl").stdout.splitlines()
    ]
    assert [line["text"] for line in predicted] == [row["text"] for row in rows[120:]]
    assert_counts(trained, [row["label"] for row in rows[120:]], [line["predicted"] for line in predicted])
    probabilities = [
        np.array([list(line["probabilities"].values()) for line in lines]) for lines in (written, predicted)
    ]
    np.testing.assert_allclose(*probabilities, atol=1e-6, rtol=0)


def assert_counts(trained: dict, gold: list[str], predicted: list[str]) -> None:
    labels = trained["confusion_matrix"]["labels"]
    assert trained["confusion_matrix"]["matrix"] == sklearn.confusion_matrix(gold, predicted, labels=labels).tolist()
    assert trained["accuracy"] == pytest.approx(sklearn.accuracy_score(gold, predicted))
    assert trained["macro_f1"] == pytest.approx(sklearn.f1_score(gold, predicted, average="macro"))
    assert 0.5 < trained["accuracy"] < 1, "neither chance nor all right, or the comparison says little"
