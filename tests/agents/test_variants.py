"""Runs that differ in one thing from the tiny one: what it changes, and what it must not."""

import json
from pathlib import Path

import pytest
import torch
from conftest import tiny_rows, write_jsonl
from safetensors.torch import load_file

from agents import build, load
from main import main


def report_of(name: str) -> dict:
    return json.loads(Path(f"experiments/{name}/report.json").read_text())


def train(*words: str, name: str = "x") -> dict:
    assert main(["tiny.yaml", *words, f"name={name}"]) == 0
    return report_of(name)


@pytest.mark.parametrize(
    "extra", [[], ["loss={name: cross_entropy, class_weights: {chess: 3.0}}"], ["loss.name=focal"]]
)
@pytest.mark.parametrize("model", ["bilstm", "bag_of_embeddings"])
def test_one_global_batch_is_one_update_whatever_it_is_cut_into(workplace: Path, model: str, extra: list[str]) -> None:
    options = ["optimizer={name: SGD, lr: 0.5}", "train.num_epochs=1", "train.max_grad_norm=0.5", *extra]
    sizes = ["model={name: " + model + ", embedding_size: 16, dropout: 0.0}", "head.dropout=0.0"]
    weights = []
    for cuts in (1, 3, 16):
        train(*sizes, *options, f"train.accumulation_steps={cuts}", name=f"cut-{cuts}")
        weights.append(load_file(f"experiments/cut-{cuts}/checkpoints/step-5/model.safetensors"))
    for other in weights[1:]:
        for name, tensor in weights[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-6)


def test_several_labels_a_text(workplace: Path) -> None:
    rows = [row | {"label": [row["label"], "even"] if i % 2 else [row["label"]]} for i, row in enumerate(tiny_rows())]
    write_jsonl(
        workplace / "tiny.jsonl",
        [row | {"text": f"{row['text']} {'even' if len(row['label']) > 1 else 'odd'}"} for row in rows],
    )
    report = train(
        "data.multi_label=true", "loss.name=binary_cross_entropy", "train.num_epochs=15", "train.monitor=+micro_f1"
    )
    assert {"micro_f1", "macro_f1", "exact_match"} <= set(report["test"])
    assert report["test"]["micro_f1"] > 0.8
    line = json.loads(Path("experiments/x/predictions.jsonl").read_text().splitlines()[0])
    assert isinstance(line["gold"], list)
    assert line["predicted"] == [label for label, p in line["probabilities"].items() if p > 0.5]
    assert (
        load("experiments/x").predict([{"title": line["title"], "text": line["text"]}])[0]["predicted"]
        == line["predicted"]
    )


def test_texts_without_labels_are_tested_and_shown(workplace: Path) -> None:
    rows = [row | {"label": [row["label"]] * (i % 4 > 0)} for i, row in enumerate(tiny_rows())]
    path = write_jsonl(workplace / "tiny.jsonl", rows)
    report = train("data.multi_label=true", "loss.name=binary_cross_entropy")
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    unlabelled = [line for line in lines if line["gold"] == []]
    assert len(unlabelled) == 6  # a quarter of 24
    assert report["test"]["exact_match"] == sum(line["gold"] == line["predicted"] for line in lines) / len(lines)
    predictor = load("experiments/x")
    assert predictor.evaluate(records("test"))["loss"] == pytest.approx(report["test"]["loss"], abs=1e-6)
    assert "gold" not in predictor.predict([rows[0]])[0]
    assert main(["test", "experiments/x", "--data", str(path)]) == 0
    assert main(["tiny.yaml", "data.multi_label=true", "loss.name=binary_cross_entropy", "name=x"]) == 0  # again


def test_a_language_without_spaces_is_learnt_from_its_characters(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"体育": ["球队", "比赛", "冠军", "教练"], "财经": ["股票", "银行", "基金", "利率"]}
    rows = [
        {
            "title": "今天",
            "text": "".join(words[label][(i // k) % 4] for k in (1, 3, 5, 7)) + f"第{i}。",
            "label": label,
        }
        for i in range(120)
        for label in [list(words)[i % 2]]
    ]
    write_jsonl(workplace / "tiny.jsonl", rows)
    assert train("train.num_epochs=4")["test"]["accuracy"] > 0.9
    assert "vocabulary" not in capsys.readouterr().err
    train("tokenizer.cut_unspaced=false", name="y")  # a text is one word then
    assert "of the tokens of test are not in the vocabulary (more than 30%)" in capsys.readouterr().err


def test_wordpiece_is_not_proposed_in_place_of_wordpiece(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(workplace / "test.jsonl", [row | {"text": "щука и окунь " * 9} for row in tiny_rows()[:6]])
    train("data.test=test.jsonl", "tokenizer={name: wordpiece, vocab_size: 300}", "train.num_epochs=1")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "of the tokens of test" in line]
    assert line.endswith("are not in the vocabulary (more than 30%)")


@pytest.mark.parametrize(
    "tokenizer", ["{name: wordpiece, vocab_size: 400}", "{name: byte_bpe, vocab_size: 400}", "{name: word, ngrams: 3}"]
)
def test_every_tokenizer_trains_and_predicts_the_same_from_its_file(workplace: Path, tokenizer: str) -> None:
    report = train(f"tokenizer={tokenizer}", "train.num_epochs=1")
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    again = load("experiments/x").predict([{"title": line["title"], "text": line["text"]} for line in lines])
    assert [line["predicted"] for line in again] == [line["predicted"] for line in lines]
    assert report["test"]["loss"] == pytest.approx(load("experiments/x").evaluate(records("test"))["loss"], abs=1e-6)


def records(split: str) -> object:
    corpus = load("experiments/x").corpus
    return corpus.records(split, corpus.scan().rows[split])


def test_batches_by_token_budget_and_an_end_by_steps(workplace: Path) -> None:
    report = train("train.batch_tokens=120", "train.num_steps=13", "train.validate_every=4 steps")
    assert report["train"]["steps"] == 13
    lines = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "valid"] == [4, 8, 12, 13]


def test_early_stopping_ends_the_run_and_the_best_is_reported(workplace: Path) -> None:
    report = train("train.num_epochs=60", "train.patience=2", "train.monitor=-loss", "optimizer.lr=0.2")
    lines = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["split"] == "valid"}
    assert report["train"]["is_stopped_early"]
    assert report["train"]["epochs"] < 60
    assert report["best"]["step"] == min(losses, key=losses.get)
    assert report["valid"]["loss"] == pytest.approx(min(losses.values()), abs=1e-6)
    assert report["train"]["steps"] == report["best"]["step"] + 10


def test_word_vectors_are_read_and_frozen(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"sail": 1.0, "unheard": 2.0, "<pad>": 3.0, "<unk>": 4.0}
    (workplace / "vectors.txt").write_text("".join(f"{word}{f' {x}' * 16}\n" for word, x in words.items()))
    train("vectors={path: vectors.txt, freeze: true}", "train.num_epochs=1")
    err = capsys.readouterr().err
    assert "of the vocabulary found (1 of " in err
    predictor = load("experiments/x")
    for encoder in predictor.model.encoders:
        assert encoder.embedding.weight[predictor.artifacts.tokenizer.ids["sail"]].tolist() == [1.0] * 16
        assert encoder.embedding.weight[:2].tolist() == [[0.0] * 16, [4.0] * 16]  # <pad> stays zero


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_split_whose_labels_have_no_weight_is_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    """Its loss would be a mean over nothing: 0, or with label smoothing any number."""
    rows = tiny_rows()
    write_jsonl(workplace / "some.jsonl", [row for row in rows if row["label"] == "chess"])
    words = [f"data.{split}=some.jsonl", "loss={class_weights: {chess: 0.0}, label_smoothing: 0.1}", "name=x"]
    assert main(["tiny.yaml", *words]) == 2
    words_of = f"loss.class_weights are 0 for all gold labels of {split}, whose loss would be a mean over nothing"
    assert words_of in capsys.readouterr().err


def test_init_from_starts_at_the_other_runs_weights(workplace: Path) -> None:
    first = train("train.num_epochs=8", "seed=2", name="first")
    second = build("tiny.yaml", {"init_from": "experiments/first", "name": "second", "seed": 9})
    assert torch.equal(
        second.model.state_dict()["head.layers.0.weight"],
        load("experiments/first").model.state_dict()["head.layers.0.weight"],
    )
    report = second.run()
    assert report["best"]["value"] >= first["best"]["value"] - 0.1
    assert first["test"]["accuracy"] > 0.8


def test_init_from_takes_another_dropout_and_no_other_size(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("train.num_epochs=1", name="first")
    train("train.num_epochs=1", "init_from=experiments/first", "model.dropout=0.4", name="second")
    capsys.readouterr()
    words = ["tiny.yaml", "init_from=experiments/first", "name=third"]
    assert main([*words, "model.embedding_size=8"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "experiments/first has another model (embedding_size: 16 there, 8 here), so its weights do not fit" in line
    assert main([*words, "model={name: bag_of_embeddings}"]) == 2
    assert "another model (name: bilstm there, bag_of_embeddings here)" in capsys.readouterr().err


def test_init_from_a_run_with_other_labels_makes_a_new_last_layer(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("train.num_epochs=1", name="first")
    write_jsonl(workplace / "tiny.jsonl", [row | {"label": row["label"].upper()} for row in tiny_rows()])
    train("train.num_epochs=1", "init_from=experiments/first", name="second")
    assert "a new last layer" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["bilstm", "bag_of_embeddings"])
def test_a_step_that_is_not_finite_stops_before_the_update(
    workplace: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert (
        main(
            [
                "tiny.yaml",
                "model={name: " + model + "}",
                "optimizer={name: SGD, lr: 1e38}",
                "name=x",
                "train.save_every=1 step",
            ]
        )
        == 6
    )
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("step ")
    assert "is not finite" in error
    for path in Path("experiments/x/checkpoints").glob("*/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values())
