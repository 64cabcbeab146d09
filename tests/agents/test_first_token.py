"""Models that read a text off its first token get one that stands before all texts, or are refused."""

from pathlib import Path

import pytest

from agents import build
from main import main
from utils.errors import ConfigError

SIZES = "hidden_size: 8, num_layers: 1, num_heads: 2, intermediate_size: 8, max_positions: 64"
CLS = 2  # the id of [CLS]


@pytest.mark.parametrize("model", [f"bert, {SIZES}", f"transformer, pooling: cls, {SIZES}"])
@pytest.mark.parametrize(
    ("tokenizer", "advised"),
    [
        ("{name: word}", "wordpiece"),
        ("{name: wordpiece}", "wordpiece"),
        ("{name: byte_bpe, vocab_size: 400}", "byte_bpe"),
    ],
)
def test_a_first_word_is_no_summary_of_a_text(
    workplace: Path, capsys: pytest.CaptureFixture[str], model: str, tokenizer: str, advised: str
) -> None:
    (workplace / "tiny.jsonl").unlink()  # before any data is read
    assert (
        main(["tiny.yaml", "name=x", f"model={{name: {model}}}", f"tokenizer={tokenizer}", "data.max_length=64"]) == 2
    )
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"command line: model.pooling: {'cls' if 'cls' in model else 'pooler'} needs a token such as "
        f"[CLS] in front of each text, which this tokenizer does not add; write tokenizer: {{name: {advised}, special_tokens: true}}, or "
        "model.pooling: mean"
    )


@pytest.mark.parametrize("tokenizer", ["wordpiece", "byte_bpe"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data.pair": True},
        {"data.max_length": 8},
        {"data.max_length": 8, "data.long_texts": "head_tail"},
        {"data.max_length": 8, "data.long_texts": "windows", "data.stride": 2},
    ],
    ids=str,
)
def test_every_text_and_every_window_begins_with_cls(
    workplace: Path, tokenizer: str, options: dict[str, object]
) -> None:
    model = {"name": "bert", "hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 8}
    tokens = {"name": tokenizer, "vocab_size": 400, "special_tokens": True}
    agent = build("tiny.yaml", {"data.max_length": 64, **options, "model": model, "tokenizer": tokens, "name": "x"})
    for loader in agent.data.loaders.values():
        for batch in loader.eval_batches():
            assert all((field["input_ids"][:, 0] == CLS).all() for field in batch.fields)
    agent.experiment.close()


def test_the_tokenizer_that_a_run_begins_with_is_looked_at(workplace: Path) -> None:
    """init_from brings the tokenizer of the other run, whatever the config says."""
    model = {"name": "bert", "hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 8}
    options = {"tokenizer": {"name": "wordpiece"}, "data.max_length": 64, "train.num_epochs": 1}
    build("tiny.yaml", {**options, "model": model | {"pooling": "mean"}, "name": "first"}).run()
    options["tokenizer"] = {"name": "wordpiece", "special_tokens": True}
    with pytest.raises(
        ConfigError,
        match=r"model\.pooling: pooler needs a token such as \[CLS\] in front of each text, which this tokenizer does not add",
    ):
        build("tiny.yaml", {**options, "model": model, "init_from": "experiments/first", "name": "second"})
