"""Classifiers that began with weights of DistilBERT and RoBERTa, in those models' own classes of transformers."""

from pathlib import Path

import pytest
import torch
import transformers
from conftest import tiny_rows
from published import CONFIG, write_published

from agents import build, load
from agents.classifying.teacher import logits_of as own_logits
from main import main

ROWS = [{"title": "x", "text": "a"}, {"title": "tie", "text": "the rope " * 40}, *tiny_rows(30)]
CASES = {  # kind, options, class
    "distilbert": (
        "distilbert",
        {"model.pooling": "cls", "head": {"hidden_sizes": [16], "dropout": 0.1}},
        "DistilBertForSequenceClassification",
    ),
    "roberta": ("roberta", {}, "RobertaForSequenceClassification"),
    "distilbert under a pooler": ("distilbert", {}, "BertForSequenceClassification"),
}


def transformers_logits(folder: str, *texts: list[str]) -> torch.Tensor:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found: torch.Tensor = model(**tokenizer(*texts, return_tensors="pt", padding=True, truncation=True)).logits
    return found


@pytest.mark.parametrize("is_pair", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_run_goes_out_as_the_class_of_its_weights(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, is_pair: bool
) -> None:
    kind, options, architecture = CASES[name]
    write_published(workplace / "published", kind, initializer_range=0.3)
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    build("tiny.yaml", {**options, "data.join_fields": not is_pair, "data.pair": is_pair, "name": "tiny"}).run()
    assert main(["export", "experiments/tiny", "--out", "hf"]) == 0
    assert f"load it with {architecture}" in capsys.readouterr().out
    texts = [[row[field] for row in ROWS] for field in ("title", "text")]
    found = transformers_logits("hf", *(texts if is_pair else [[" ".join(pair) for pair in zip(*texts, strict=True)]]))
    run, export = load("experiments/tiny"), load("hf")
    records = list(run.reader("error").answers(run.rows(ROWS)))
    torch.testing.assert_close(found, torch.from_numpy(own_logits(run, records)), atol=1e-5, rtol=0)
    torch.testing.assert_close(found, torch.from_numpy(own_logits(export, records)), atol=1e-5, rtol=0)
    assert main(["verify", "hf"]) == 0


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_what_went_out_begins_another_run(workplace: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """RoBERTa's classifier comes back, too; DistilBERT's is said to be left out."""
    write_published(workplace / "published", kind)
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    build("tiny.yaml", {**CASES[kind][1], "name": "tiny"}).run()
    assert main(["export", "experiments/tiny", "--out", "hf"]) == 0
    capsys.readouterr()
    again = build("tiny.yaml", {**CASES[kind][1], "init_from": "hf", "name": "again"})
    is_whole = kind == "roberta"
    assert ("newly initialised: nothing" in capsys.readouterr().err) == is_whole
    trained = load("experiments/tiny").model.state_dict()
    for name, tensor in again.model.state_dict().items():
        if is_whole or not name.startswith("head."):
            assert torch.equal(tensor, trained[name]), name
    again.experiment.close()


def test_an_activation_that_no_class_has(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.replace(
        "init_from: {folder}\n", "tokenizer: {{name: wordpiece, vocab_size: 300, special_tokens: true}}\n"
    )
    sizes = "hidden_size: 16, num_layers: 1, num_heads: 2, intermediate_size: 24, max_positions: 32"
    (workplace / "tiny.yaml").write_text(
        config.format().replace("name: bert", f"{{name: bert, activation: geglu, {sizes}}}")
    )
    assert main(["tiny.yaml", "name=tiny"]) == 0
    capsys.readouterr()
    assert main(["export", "experiments/tiny", "--out", "hf"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "experiments/tiny: export needs model.activation gelu, gelu_tanh, relu, silu, this run has geglu; train it with that"
    )
