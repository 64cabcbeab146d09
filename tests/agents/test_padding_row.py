"""Encoders that keep the vector of token 0 at zero, as padding's, refuse a tokenizer whose token 0 is a part of texts."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from main import main


@pytest.fixture
def folder(workplace: Path) -> Path:
    """GPT-2's kind of tokenizer: byte-level, without a padding token, so that "!" has id 0."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: id for id, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    (workplace / "bytes").mkdir()
    tokenizer.save(str(workplace / "bytes" / "tokenizer.json"))
    return workplace


@pytest.mark.parametrize("model", ["bag_of_embeddings", "bilstm"])
def test_they_would_not_see_that_token(folder: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    assert main(["tiny.yaml", "name=x", f"model={{name: {model}}}", "tokenizer={name: saved, path: bytes}"]) == 2
    assert f"model.name: {model} takes token 0 for padding, and this tokenizer's is '!'" in capsys.readouterr().err


def test_an_encoder_that_masks_padding_takes_it(folder: Path) -> None:
    words = ["model={name: transformer, hidden_size: 8, num_layers: 1, num_heads: 2, intermediate_size: 8}"]
    words += ["tokenizer={name: saved, path: bytes}", "data.max_length=64", "train.num_epochs=1", "name=x"]
    assert main(["tiny.yaml", *words]) == 0
