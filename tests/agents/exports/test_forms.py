"""Every kind of classifier in the forms that it has: within 1e-4 of the trained run's probabilities."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents.exports.examples import compared
from agents.running.predictor import Predictor
from agents.serving.served_run import open_runs
from main import main

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
SIZES = "hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 24, max_positions: 32, dropout: 0.1"
BPE = "tokenizer: {name: wordpiece, vocab_size: 300, special_tokens: true}\n"
JOINED = "  fields: [title, text]\n  join_fields: true\n  max_length: 20\n"
CASES = {  # data, model and head, tokenizer
    "bag_of_embeddings": ("  fields: [text]\n", "{name: bag_of_embeddings, embedding_size: 8}", ""),
    "bag of n-grams": (
        "  fields: [text]\n",
        "{name: bag_of_embeddings, pooling: max}",
        "tokenizer: {name: word, ngrams: 2}\n",
    ),
    "bilstm": (JOINED, "{name: bilstm, embedding_size: 8, hidden_size: 6, num_layers: 2, pooling: attention}", ""),
    "transformer": (
        "  fields: [title, text]\n  max_length: 20\n",
        f"{{name: transformer, positions: rotary, {SIZES}}}",
        "",
    ),
    "windows": ("  fields: [text]\n  max_length: 6\n  long_texts: windows\n", f"{{name: transformer, {SIZES}}}", ""),
    "bert": (JOINED, f"{{name: bert, {SIZES}}}", BPE),
    "pairs": ("  fields: [title, text]\n  pair: true\n  max_length: 20\n", f"{{name: bert, {SIZES}}}", BPE),
}
ROWS = [{"title": "sail", "text": "x"}, {"title": "the wind", "text": "tie the rope " * 40}, *tiny_rows(9)]


def config_of(data: str, model: str, more: str) -> str:
    head, _, rest = TINY_CONFIG.partition("  fields: [title, text]\n")
    split, _, rest = rest.partition("model:\n")
    return f"{head}{data}{split}model: {model}\n{more}{rest[rest.index('optimizer:') :]}".replace(
        "lr: 0.05", "lr: 0.01"
    )


def numbers(folder: str) -> list[list[float]]:
    lines = Predictor(folder).predict(ROWS)
    return [list(line.get("probabilities", {"": line["predicted"]}).values()) for line in lines]


def assert_answers_alike(form: str) -> None:
    assert main(["export", "experiments/tiny", "--format", form, "--out", form]) == 0
    for wanted, found in zip(numbers("experiments/tiny"), numbers(form), strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", [n if n == "pairs" else pytest.param(n, marks=pytest.mark.full) for n in CASES])
def test_every_classifier_is_a_graph(workplace: Path, name: str) -> None:
    (workplace / "tiny.yaml").write_text(config_of(*CASES[name]))
    assert main(["tiny.yaml"]) == 0
    assert_answers_alike("onnx")
    assert_answers_alike("bundle")
    if name in ("bert", "pairs"):
        assert_answers_alike("hf")


def test_any_number_of_labels(workplace: Path) -> None:
    rows: list[Any] = [
        row | {"label": f"{row['label']}|{'even' if i % 2 else 'odd'}"} for i, row in enumerate(tiny_rows())
    ]
    write_jsonl(workplace / "tiny.jsonl", rows)
    data, model, more = CASES["bag_of_embeddings"]
    (workplace / "tiny.yaml").write_text(config_of(f"{data}  multi_label: true\n", model, more))
    assert main(["tiny.yaml"]) == 0
    assert_answers_alike("onnx")


def test_a_number(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Any] = [row | {"label": 100.0 + i % 3} for i, row in enumerate(tiny_rows())]
    write_jsonl(workplace / "tiny.jsonl", rows)
    config = config_of(*CASES["bag_of_embeddings"]).replace("agent: classification", "agent: regression")
    (workplace / "tiny.yaml").write_text(config)
    assert main(["tiny.yaml"]) == 0
    assert main(["export", "experiments/tiny", "--format", "onnx", "--out", "onnx"]) == 0
    for wanted, found in zip(numbers("experiments/tiny"), numbers("onnx"), strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)
    assert main(["export", "experiments/tiny", "--format", "int8", "--out", "int8"]) == 2
    assert "int8 is judged by its labels" in capsys.readouterr().err


def test_numbers_are_the_same_answer_within_the_tolerance() -> None:
    lines = [{"text": "a", "predicted": 100.0}]
    for found, share in ((100.001, 1.0), (100.02, 0.0)):  # the largest difference of a number above 1 is relative: 1e-4
        predictor: Any = SimpleNamespace(
            corpus=SimpleNamespace(fields=["text"]),
            predict=lambda texts, found=found: [{"predicted": found} for _ in texts],
        )
        assert compared(predictor, lines)["same_answer"] == share


def test_the_two_texts_of_a_siamese_lstm_share_no_weights_in_8_bits(workplace: Path) -> None:
    """Those of the graph are shared, and onnxruntime's quantiser changes their shape in place."""
    rows: list[Any] = [row | {"label": str(row["label"] == "chess")} for row in tiny_rows()]
    write_jsonl(workplace / "tiny.jsonl", rows)
    config = config_of("  fields: [title, text]\n", "{name: bilstm, embedding_size: 8, hidden_size: 6}", "")
    (workplace / "tiny.yaml").write_text(config.replace("agent: classification", "agent: similarity"))
    assert main(["tiny.yaml"]) == 0
    assert main(["export", "experiments/tiny", "--format", "int8", "--out", "int8"]) == 0
    for wanted, found in zip(numbers("experiments/tiny"), numbers("int8"), strict=True):
        assert found == pytest.approx(wanted, abs=0.02)


def test_a_graph_is_served_and_not_explained(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=a"]) == 0
    assert main(["export", "experiments/a", "--format", "onnx", "--out", "graph"]) == 0
    served = open_runs(["graph", "experiments/a"], "cpu")
    assert [served[name].described()["words"] for name in ("graph", "a")] == [False, True]
    assert main(["explain", "graph", "--text", "a king"]) == 2
    assert "graph: a graph of onnxruntime has no gradients" in capsys.readouterr().err
