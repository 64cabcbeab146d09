"""A pre-trained encoder as that of an encoder-decoder: it computes what it did, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import small_documents
import small_pairs
import torch

from agents import build
from main import main

MODEL = "model={name: transformer, hidden_size: 24, num_layers: 2, num_heads: 2, intermediate_size: 32, dropout: 0, %s}"


@pytest.fixture
def place(workplace: Path) -> Path:
    """The folder with small documents and small pairs, which give neither tokenizer nor sizes."""
    small_documents.write_corpus(workplace)
    small_pairs.write_pairs(workplace)
    lines = (workplace / "pairs.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("tokenizer", "model"))]
    (workplace / "pairs.yaml").write_text("\n".join([*kept, "model: {name: encoder_decoder, num_decoder_layers: 1}"]))
    return workplace


def pretrained(options: str) -> Any:
    agent = build("documents.yaml", ["name=pretrained", MODEL % options, "train.num_epochs=1"])
    agent.run()
    return agent


@pytest.mark.parametrize(
    "options",
    [
        "positions: rotary",
        "positions: learned, norm: pre",
        "positions: sinusoidal",
        "positions: rotary, type_vocab_size: 0",
    ],
)
def test_the_encoder_computes_what_it_did(place: Path, capsys: pytest.CaptureFixture[str], options: str) -> None:
    before = pretrained(options).model.encoders[0].eval()
    agent: Any = build("pairs.yaml", {"name": "x", "init_from": "experiments/pretrained"})
    after = agent.model.encoder.eval()
    batch: Any = next(agent.data.loaders["valid"].eval_batches())
    with torch.no_grad():
        found, expected = (each(batch.input_ids, batch.attention_mask) for each in (after, before))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(agent.model.table, after.embeddings.token.weight), "which the decoder shares"
    assert "weights of experiments/pretrained: encoders.0; newly initialised: " in capsys.readouterr().err
    agent.run()
    assert main(["generate", "experiments/x", "--text", "salt the soup"]) == 0


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        ("norm: post", [], "has another model (name: transformer there, encoder_decoder here)"),
        ("embedding_norm: true", [], "has another model (name: transformer there, encoder_decoder here)"),
        ("positions: rotary", ["model.num_layers=3"], "has another model (num_layers: 2 there, 3 here)"),
        ("positions: rotary", ["model.activation=relu"], "has another model (activation: gelu there, relu here)"),
    ],
)
def test_what_does_not_fit_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], options: str, words: list[str], message: str
) -> None:
    pretrained(options)
    assert main(["pairs.yaml", "name=x", "init_from=experiments/pretrained", *words]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
