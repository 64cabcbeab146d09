"""walk: every tensor of one text's way, from the line that made it, with the gradient that reaches it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Run, assert_refused
from small_documents import write_corpus
from small_pairs import write_pairs
from torch import nn

from agents import load
from agents.inspecting.opening import opened
from agents.inspecting.tracing import Made, Numbers, Trace
from agents.inspecting.walking import folded, walk
from main import main

TEXT = {"title": "boil the rice", "text": "salt the soup and whisk the eggs"}
TRANSFORMER = ["model={name: transformer, hidden_size: 16, num_layers: 3, num_heads: 2}", "data.max_length=32"]
BAG = ["model={name: bag_of_embeddings, embedding_size: 6}", "head.hidden_sizes=[]", "head.dropout=0"]


def walked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["walk", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_each_line_is_the_one_that_made_the_tensor(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = walked(capsys, "tiny.yaml", "--text", json.dumps(TEXT), "--label", "cooking")
    for made in found["made"]:
        file, _, line = made["place"].rpartition(":")
        assert (ROOT / file).read_text().splitlines()[int(line) - 1].strip() == made["code"] != ""
    layers = [made for made in found["made"] if "forward_lstm(hidden)" in made["code"]]
    assert [(made["module"], made["shape"]) for made in layers] == [
        (f"encoders.{i}.forward_layers.0", [1, len(value.split()), 12]) for i, value in enumerate(TEXT.values())
    ]
    assert found["inputs"]["input_ids 2"]["tokens"] == TEXT["text"].split()
    assert not any("inspecting" in made["place"] for made in found["made"])
    assert list(Path().glob("experiments/*")) == []


def test_gradients_are_those_of_the_loss(workplace: Path) -> None:
    """Of the logits: the probabilities less the right label (by hand); of what the head reads: that times its weights."""
    with opened("tiny.yaml", BAG) as agent:
        found = walk(agent, TEXT, "sailing")
        weight = agent.model.head.layers[0].weight.detach()  # type: ignore[union-attr,index]
    logits = next(made for made in found.made if made.module == "head.layers.0")
    residual = logits.tensor.detach().softmax(dim=-1)[0] - torch.tensor([0.0, 0.0, 1.0])  # chess, cooking, sailing
    assert logits.gradient == pytest.approx(residual.norm().item(), rel=1e-5)
    joined = next(made for made in found.made if "torch.cat(vectors" in made.code)
    assert joined.gradient == pytest.approx((residual @ weight).norm().item(), rel=1e-5)
    assert found.loss == pytest.approx(-math.log(logits.tensor.detach().softmax(dim=-1)[0, 2].item()), rel=1e-5)


def test_a_trained_run_says_what_predict_says(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=x", *TRANSFORMER]) == 0
    found = walked(capsys, "experiments/x", "--text", json.dumps(TEXT))
    expected = load("experiments/x").predict([TEXT])[0]
    assert found["predicted"] == expected["predicted"]
    for label, probability in expected["probabilities"].items():
        assert found["probabilities"][label] == pytest.approx(probability, abs=1e-6)
    assert found["loss"] is None
    assert not any("losses" in made["place"] or made["gradient"] for made in found["made"])
    softmax = next(made for made in found["made"] if "scores.softmax" in made["code"])
    assert softmax["shape"][-1] == softmax["shape"][-2] == 3  # the plain padded code, of the title's words


def test_equal_layers_are_shown_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tiny.yaml", *TRANSFORMER, "--text", json.dumps(TEXT)]
    assert main(["walk", *words]) == 0
    short = capsys.readouterr().out
    assert main(["walk", *words, "--all"]) == 0
    whole = capsys.readouterr().out
    assert short.count("scores.softmax") == 2  # an encoder for each field
    assert whole.count("scores.softmax") == 6
    assert short.count("the same ") == 4
    assert "boil the rice" in short
    assert "predicted " in short


def test_other_code_in_a_layer_is_shown_whole() -> None:
    numbers = Numbers.of(torch.zeros(1))
    lines = [
        ("layers.0.a", 1),
        ("layers.0", 2),
        ("layers.1.a", 1),
        ("layers.1", 3),
        ("layers.2.a", 1),
        ("layers.2", 2),
        ("", 4),
    ]
    made = [Made(numbers, "f.py", line, module, torch.zeros(1)) for module, line in lines]
    found = [(each.module, count) for each, count in folded(made)]
    assert found == [("layers.0.a", 0), ("layers.0", 0), ("layers.1.a", 0), ("layers.1", 0), ("layers.2", 1), ("", 0)]


def test_numbers_are_those_of_the_moment() -> None:
    """A tensor that is changed in place afterwards is shown as it was."""
    from graphs.layers.pooling import masked_mean

    class Model(nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return masked_mean(hidden, torch.ones(1, 2, dtype=torch.bool)).mul_(0.0)

    model = Model()
    with Trace(model).watching() as trace:
        model(torch.tensor([[[1.0], [3.0]]]))
    assert trace.made[-1].numbers.first == [2.0]
    assert trace.made[-1].tensor.item() == 0.0


def test_what_is_made_in_place_is_shown_and_what_is_not_made_yet_is_not() -> None:
    """By the names of the lines in the loss of an encoder-decoder, whose gradients are made on the way forward."""
    from graphs.losses.token_cross_entropy import _LinearCrossEntropy

    hidden, table = torch.ones(2, 4, requires_grad=True), torch.eye(3, 4)
    with Trace(nn.Identity()).watching() as trace:
        _LinearCrossEntropy.apply(hidden, table, torch.tensor([0, 2]), 0.0)
    lines = {made.code: made.numbers for made in trace.made}
    assert not any("empty" in code for code in lines)
    (softmax,) = [numbers for code, numbers in lines.items() if "mul_(1 / total)" in code]
    assert softmax.shape == (2, 3)
    assert softmax.first == pytest.approx([1 / 3] * 6)


@pytest.mark.parametrize(
    ("text", "label", "masked"),
    [
        ("boil the [MASK] .", "rice", "rice"),
        ("boil the [MASK] .", None, None),
        ("boil the rice slowly", None, "the"),
        ("boil the rice slowly", "sail", "sail"),
    ],
)
def test_a_masked_language_model(
    workplace: Path, capsys: pytest.CaptureFixture[str], text: str, label: str | None, masked: str | None
) -> None:
    write_corpus(workplace)
    words = [] if label is None else ["--label", label]
    found = walked(capsys, "documents.yaml", "objective.pairs=next_sentence", "--text", text, *words)
    assert found["inputs"]["input_ids"]["tokens"].count("[MASK]") == 1
    assert (found["loss"] is not None) == (masked is not None)
    with opened("documents.yaml") as agent:
        ids = agent.artifacts.tokenizer.bare([masked or ""], may_be_empty=True).ids.tolist()
    if label is not None:
        assert found["inputs"]["ids"]["first"] == ids


def test_an_answer_that_is_no_token_is_refused(run: Run, workplace: Path) -> None:
    write_corpus(workplace)
    for answer in ("boil the", "Ж"):
        result = run("walk", "documents.yaml", "--text", "boil the [MASK] .", "--label", answer)
        assert_refused(result, 2, f"must be one token of the vocabulary, got '{answer}'")


def test_an_encoder_decoder(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(workplace)
    words = ["pairs.yaml", "--text", "boil the rice and salt the soup"]
    found = walked(capsys, *words, "--label", "boil the rice")
    assert "".join(found["inputs"]["target_ids"]["tokens"][1:]).replace("\u0120", " ") == "boil the rice"
    modules = {made["module"] for made in found["made"]}
    assert {"layers.0.attention", "layers.0.cross_attention", "encoders.0.layers.0.attention"} <= modules
    assert found["loss"] > 0
    size = len(found["inputs"]["target_ids"]["tokens"])
    logits = [made for made in found["made"] if made["shape"] == [size, 300]]
    assert len(logits) == 1
    assert logits[0]["gradient"] > 0
    alone = walked(capsys, *words)
    assert alone["loss"] is None
    assert alone["made"][-1]["shape"] == [len(alone["inputs"]["target_ids"]["tokens"]), 300], "the logits come last"
    assert {made["module"] for made in alone["made"]} >= {"layers.0.cross_attention"}


def test_the_walked_loss_is_the_loops(workplace: Path) -> None:
    """The loss of a row as `evaluate` has it."""
    with opened("tiny.yaml") as agent:
        split = agent.data.splits["train"]  # type: ignore[attr-defined]
        record = next(iter(agent.data.records("train")))  # type: ignore[attr-defined]
        agent.model.eval()
        with torch.no_grad():
            expected = agent.compute_loss(split.collate(np.zeros(1, dtype=np.int64)))[0]["loss"].item()
        text = dict(zip(["title", "text"], record.texts, strict=True))
        assert walk(agent, text, record.labels[0]).loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tiny.yaml", "--text", "boil", "--label", "golf"], 3, "golf"),
        (["tiny.yaml", "--text", " "], 3, "no text"),
        (["no.yaml", "--text", "boil"], 2, "no.yaml"),
        (["experiments", "--text", "boil"], 4, "experiments"),
        (["tiny.yaml", "model.name=lstm", "--text", "boil"], 2, "lstm"),
        (["tiny.yaml"], 2, "--text"),
    ],
)
def test_bad_input(run_here: Run, workplace: Path, words: list[str], code: int, said: str) -> None:
    (workplace / "experiments").mkdir()
    assert_refused(run_here("walk", *words), code, said)


def test_options_of_a_run_are_not_changed(run_here: Run, workplace: Path) -> None:
    assert main(["tiny.yaml", "name=x", "train.num_epochs=1"]) == 0
    assert_refused(run_here("walk", "experiments/x", "model.hidden_size=3", "--text", "boil"), 2, "model.hidden_size=3")
