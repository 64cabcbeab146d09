"""Sentence pairs and long texts from the config to the prediction."""

import json
from pathlib import Path

import pytest
import torch
from conftest import tiny_rows, write_jsonl

from agents import build, load
from commands.input_output import text_of
from main import main

SPECIAL = "tokenizer={name: wordpiece, vocab_size: 400, special_tokens: true}"


def lines_of(name: str) -> list[dict]:
    return [json.loads(line) for line in Path(f"experiments/{name}/predictions.jsonl").read_text().splitlines()]


WINDOWS = ["data.long_texts=windows", "data.stride=2", "data.max_length=8"]
HEAD_TAIL = ["data.long_texts=head_tail", "data.max_length=6"]


@pytest.mark.parametrize(
    "options",
    [
        ["data.pair=true", "data.max_length=12", SPECIAL],
        [*WINDOWS, SPECIAL],
        [*WINDOWS, SPECIAL, "data.join_fields=true"],
        WINDOWS,
        [*HEAD_TAIL, SPECIAL],
        [*HEAD_TAIL, "tokenizer={name: word, ngrams: 2}"],
    ],
    ids=str,
)
def test_a_run_predicts_what_it_tested(workplace: Path, options: list[str]) -> None:
    assert main(["tiny.yaml", *options, "train.num_epochs=1", "name=x"]) == 0
    written, predictor = lines_of("x"), load("experiments/x")
    again = predictor.predict([{"title": line["title"], "text": line["text"]} for line in written])
    assert [line["truncated"] for line in again] == [line["truncated"] for line in written]
    for line, other in zip(written, again, strict=True):
        assert line["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    report = json.loads(Path("experiments/x/report.json").read_text())
    shares = report["data"]["truncated"]
    assert shares["test"] == pytest.approx(sum(line["truncated"] for line in written) / len(written))
    assert (shares["train"] > 0) == (WINDOWS[0] not in options)


def test_a_batch_of_texts_in_many_windows_is_bounded(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["tiny.yaml", *WINDOWS, "data.fields=[text]", "train.num_epochs=1", "name=x"]) == 0
    predictor, sizes = load("experiments/x"), []
    predictor.model.register_forward_pre_hook(lambda _, fields: sizes.append(len(fields[0][0]["input_ids"])))
    monkeypatch.setattr("agents.running.predictor.BATCH_TOKENS", 10 * 8)  # ten windows
    texts = [f"tie the rope {'and wait ' * (i % 30)}" for i in range(70)]
    bounded = predictor.predict(texts)
    assert max(sizes) <= 10
    assert len(sizes) > 7
    monkeypatch.undo()
    for line, other in zip(bounded, predictor.predict(texts), strict=True):
        assert line["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "num_tokens"),
    [
        (["data.pair=true", "data.max_length=12", SPECIAL], [12]),
        ([*WINDOWS, SPECIAL, "data.join_fields=true"], [8, 8, 8, 8]),
        (["data.max_length=6"], [3, 6]),
    ],
    ids=str,
)
def test_attention_is_shown_of_every_field_and_window(
    workplace: Path, options: list[str], num_tokens: list[int]
) -> None:
    model = "model={name: transformer, num_layers: 2, num_heads: 2, hidden_size: 8, intermediate_size: 8}"
    assert main(["tiny.yaml", *options, model, "train.num_epochs=1", "name=x"]) == 0
    row = {"title": "the rope today", "text": "tie the rope to the anchor and wait"}
    found = load("experiments/x").attention(row)
    assert [len(part["tokens"]) for part in found] == num_tokens
    for part in found:
        weights = torch.tensor(part["weights"])
        assert weights.shape == (2, 2, len(part["tokens"]), len(part["tokens"]))
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))


def test_fields_are_given_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = "model={name: transformer, num_layers: 1, num_heads: 2, hidden_size: 8, intermediate_size: 8}"
    assert (
        main(["tiny.yaml", "data.pair=true", "data.max_length=40", SPECIAL, model, "train.num_epochs=1", "name=x"]) == 0
    )
    row = {"title": "the rope today", "text": "tie the rope to the anchor"}
    capsys.readouterr()
    assert main(["predict", "experiments/x", "--text", json.dumps(row), "--attention"]) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    predictor = load("experiments/x")
    assert line["probabilities"] == predictor.predict([row])[0]["probabilities"]
    assert line["attention"] == predictor.attention(row)


@pytest.mark.parametrize("text", ["{", "[1]", "12", "{}", "{rope}"])
def test_a_text_that_is_no_fields_is_a_text(text: str) -> None:
    assert text_of(text, ["title", "text"]) == text
    assert text_of('{"text": "rope"}', ["text"]) == '{"text": "rope"}'


def test_an_object_of_other_fields_is_refused_and_no_text(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a field's name would else be predicted as the text of the last field."""
    assert main(["tiny.yaml", "train.num_epochs=1", "name=x"]) == 0
    for command in ("predict", "explain", "walk"):
        capsys.readouterr()
        options = ["--method", "occlusion"] if command == "explain" else []
        assert main([command, "experiments/x", "--text", '{"Title": "rope", "text": "a"}', *options]) == 3
        assert "there is no column 'title'; did you mean 'Title'?" in capsys.readouterr().err


def test_attention_is_asked_of_what_has_it_only(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "train.num_epochs=1", "name=x"]) == 0
    capsys.readouterr()
    assert main(["predict", "experiments/x", "--text", "", "--attention", "--on-bad-row", "skip"]) == 0
    assert json.loads(capsys.readouterr().out)["problem"]
    assert main(["predict", "experiments/x", "--text", "tie the rope", "--attention"]) == 2
    assert "experiments/x: model bilstm has no attention; transformer and bert have" in capsys.readouterr().err
    assert main(["predict", "experiments/x", "--input", "tiny.jsonl", "--attention"]) == 2
    assert "--attention goes with --text" in capsys.readouterr().err


def test_half_a_pair_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "data.pair=true", SPECIAL, "train.num_epochs=1", "name=x"]) == 0
    capsys.readouterr()
    assert main(["predict", "experiments/x", "--text", "tie the rope"]) == 3
    assert 'this run reads pairs: give each text as {"title": "...", "text": "..."}' in capsys.readouterr().err


def test_what_is_cut_is_said(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tiny_rows(60) + [
        row | {"text": f"{row['text']} {i} " + "and on " * 40} for i, row in enumerate(tiny_rows(20))
    ]
    write_jsonl(workplace / "tiny.jsonl", rows)
    build("tiny.yaml", {"data.max_length": 50, "data.split": [0.7, 0.3, 0.0]}).experiment.close()
    lines = [line for line in capsys.readouterr().err.splitlines() if "are truncated to" in line]
    assert [line.partition(":")[0] for line in lines] == ["train", "valid"]  # test has none
    hint = "; data.long_texts: head_tail reads their end, too"
    assert lines[0].endswith(f"% of the texts are truncated to data.max_length 50{hint}")
    build("tiny.yaml", {"data.max_length": 50, "data.long_texts": "head_tail", "name": "z"}).experiment.close()
    lines = [line for line in capsys.readouterr().err.splitlines() if "are truncated to" in line]
    assert lines[0].endswith("% of the texts are truncated to data.max_length 50")
    build("tiny.yaml", {"data.max_length": 500, "name": "y"}).experiment.close()
    assert "are truncated to" not in capsys.readouterr().err


def test_texts_without_a_known_word_are_said_with_special_tokens_too(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(workplace / "test.jsonl", [*tiny_rows(9), {"title": "\u6771", "text": "\u4eac", "label": "chess"}])
    options = {"tokenizer.name": "wordpiece", "tokenizer.special_tokens": True, "data.test": "test.jsonl"}
    build("tiny.yaml", options).experiment.close()
    assert "1 of 10 texts of test hold no token of the vocabulary" in capsys.readouterr().err


def test_a_tokenizer_of_another_run_is_looked_at_when_it_is_there(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", SPECIAL.replace("true", "false"), "train.num_epochs=1", "name=first"]) == 0
    assert main(["tiny.yaml", SPECIAL, "data.pair=true", "init_from=experiments/first", "name=second"]) == 2
    assert "pair: true needs a tokenizer that marks" in capsys.readouterr().err.strip().splitlines()[-1]


REFUSED = {
    "command line: data: pair needs two fields": ["data.pair=true", "data.join_fields=true", SPECIAL],
    "pair: true needs a tokenizer that marks": ["data.pair=true"],
    "command line: data: max_length must be at least 5": ["data.pair=true", "data.max_length=4", SPECIAL],
    "command line: data: stride must be less than": ["data.max_length=8", "data.long_texts=windows", "data.stride=6", SPECIAL],
    "command line: data: long_texts: windows does not go with n-grams": ["data.max_length=8", "data.long_texts=windows", "tokenizer={name: word, ngrams: 2}"],
    "data.long_texts must be one of head, head_tail, windows": ["data.long_texts=tail"],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_go_together_is_refused_before_any_data_is_read(
    workplace: Path, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    (workplace / "tiny.jsonl").unlink()
    assert main(["tiny.yaml", *REFUSED[message], "name=x"]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
