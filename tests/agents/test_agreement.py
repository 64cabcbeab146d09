"""What training measured, what `test` measures, and what can be counted from what `predict` writes, are the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, tiny_rows, write_jsonl
from sklearn import metrics as sklearn

from graphs.models.text_classifier import TextClassifier
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


def test_a_class_that_a_split_lacks_is_no_error_of_the_model(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Macro F1 as scikit-learn has it, over the labels that are gold or predicted: monitored, in the report, and by `test`."""
    rows = [row for row in tiny_rows(200) if row["label"] != "chess"]
    write_jsonl(workplace / "train.jsonl", [*tiny_rows(60), *rows[:60]])
    write_jsonl(workplace / "valid.jsonl", rows[60:90])
    write_jsonl(workplace / "test.jsonl", rows[90:])
    files = [f"data.{split}={split}.jsonl" for split in ("train", "valid", "test")]
    assert main(["tiny.yaml", "name=x", "train.num_epochs=4", "train.monitor=+macro_f1", *files]) == 0
    warning = "each counts in macro F1 only where it is predicted, as 0"
    assert warning in capsys.readouterr().err
    report = json.loads((workplace / "experiments/x/report.json").read_text())
    assert report["best"]["value"] == report["valid"]["macro_f1"]
    for split in ("valid", "test"):
        assert main(["test", "experiments/x", "--data", f"{split}.jsonl", "--json"]) == 0
        tested = json.loads(capsys.readouterr().out)
        assert main(["predict", "experiments/x", "--input", f"{split}.jsonl"]) == 0
        predicted = [json.loads(line)["predicted"] for line in capsys.readouterr().out.splitlines()]
        gold = [row["label"] for row in (rows[60:90] if split == "valid" else rows[90:])]
        expected = sklearn.f1_score(gold, predicted, average="macro")
        assert report[split]["macro_f1"] == tested["macro_f1"] == pytest.approx(expected)
        assert tested["macro_f1"] > 0.7, "over three labels it could be 2/3 at most"
        assert tested["per_class"]["chess"]["support"] == 0


def test_of_any_number_of_labels_every_label_counts(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in scikit-learn, which averages over all columns of an indicator matrix."""
    rows = [row | {"label": [row["label"]]} for row in tiny_rows()]
    write_jsonl(workplace / "train.jsonl", rows)
    write_jsonl(workplace / "test.jsonl", [row for row in rows if row["label"] != ["chess"]])
    data = [
        "data.train=train.jsonl",
        "data.test=test.jsonl",
        "data.multi_label=true",
        "loss={name: binary_cross_entropy}",
    ]
    assert main(["tiny.yaml", "name=x", "data.split=[0.8, 0.2, 0.0]", *data]) == 0
    assert "test has no row of 1 of the 3 labels ('chess'): not measured, and each counts as 0" in (
        capsys.readouterr().err
    )
    report = json.loads((workplace / "experiments/x/report.json").read_text())["test"]
    assert report["macro_f1"] == pytest.approx(sum(row["f1"] for row in report["per_class"].values()) / 3)


TIES = [[0.0, 1e-9, -1.0], [1e-9, 0.0, 1e-9], [1e-9, 2e-9, 3e-9], [200.0, 300.0, 0.0], [-1e-9, -2e-9, 1e-12]]


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_what_float32_probabilities_cannot_tell_apart_is_decided_alike(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_multi_label: bool
) -> None:
    """Logits whose probabilities are equal, 0.5 or 1.0 in float32: in training's report, predictions.jsonl, `test`, `predict`."""
    rows = [row | {"label": [row["label"]]} if is_multi_label else row for row in tiny_rows(60)]
    write_jsonl(workplace / "tiny.jsonl", rows)
    original = TextClassifier.forward

    def forward(self: TextClassifier, fields: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        logits = original(self, fields)
        if self.training:
            return logits
        kinds = fields[-1]["input_ids"].sum(dim=1) % len(TIES)  # padding is 0: a text's own, whatever its batch
        return logits * 0 + torch.tensor(TIES)[kinds]

    monkeypatch.setattr(TextClassifier, "forward", forward)
    options = ["data.multi_label=true", "loss={name: binary_cross_entropy}"] if is_multi_label else []
    assert main(["tiny.yaml", "name=x", "train.num_epochs=1", *options]) == 0
    report = json.loads(Path("experiments/x/report.json").read_text())["test"]
    written = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    texts = {line["text"] for line in written}
    write_jsonl(workplace / "test.jsonl", [row for row in rows if row["text"] in texts])
    capsys.readouterr()
    assert main(["test", "experiments/x", "--data", "test.jsonl", "--json"]) == 0
    tested = json.loads(capsys.readouterr().out)
    assert main(["predict", "experiments/x", "--input", "test.jsonl"]) == 0
    predicted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tested["accuracy"] == report["accuracy"] == np.mean([line["predicted"] == line["gold"] for line in written])
    found = [{line["text"]: line["predicted"] for line in lines} for lines in (written, predicted)]
    assert found[0] == found[1]
    assert len({str(value) for value in found[0].values()}) > 1
