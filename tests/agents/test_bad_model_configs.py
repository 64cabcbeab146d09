"""A config.json with values of any kind: the weights come in, or there is one line."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import IS_FULL
from fuzz import fuzz
from published import CONFIG, LABELS, change_config, refusal, write_published

from agents import checked_config
from agents.running.building import build_model
from agents.weights.published import load_published, published_tokenizer
from graphs.conversion.hugging_face import _OPTIONS
from utils.errors import GlassboxError


@pytest.fixture
def published(workplace: Path) -> Path:
    """A published model, and tiny.yaml that begins with it."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    return write_published(workplace / "published")


@pytest.mark.parametrize("names", [["a", "b", "c"], "abc", 3])
def test_labels_that_are_no_mapping(workplace: Path, capsys: pytest.CaptureFixture[str], names: object) -> None:
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    write_published(workplace / "published", labels=LABELS)
    change_config(workplace / "published", id2label=names)
    assert f"published/config.json: id2label must be a mapping of numbers to labels, got {names!r}" in refusal(
        capsys, 4
    )


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"model_type": ["bert"]}, "is a model of type ['bert']; known: bert"),
    ({"model_type": None}, 'has no model_type; if it is a BERT, add "model_type": "bert" to its config.json'),
    ({"hidden_act": ["gelu"]}, "has the activation ['gelu']; known: gelu"),
    ({"max_position_embeddings": "40"}, "has max_position_embeddings '40'; it must be a whole number from 1"),
    ({"hidden_size": True}, "has hidden_size True; it must be a whole number"),
    ({"hidden_size": 16.0}, "has hidden_size 16.0; it must be a whole number"),
    ({"num_attention_heads": -2}, "has num_attention_heads -2"),
    ({"intermediate_size": 10**30}, "has intermediate_size 1000000"),
    ({"num_hidden_layers": {}}, "has num_hidden_layers {}"),
    ({"type_vocab_size": None}, "has type_vocab_size None; it must be a whole number from 0"),
    ({"vocab_size": [178]}, "has vocab_size [178]"),
    ({"layer_norm_eps": "1e-12"}, "has layer_norm_eps '1e-12'; it must be a number from 0 to 1"),
    ({"layer_norm_eps": float("nan")}, "has layer_norm_eps nan"),
    ({"hidden_dropout_prob": False}, "has hidden_dropout_prob False"),
    ({"model_type": "roberta", "pad_token_id": "1"}, "has pad_token_id '1'; it must be a whole number from 0"),
    ({"model_type": "roberta", "pad_token_id": 39}, "has max_position_embeddings 40, and a text's positions begin at 40"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), BAD_VALUES, ids=str)
def test_values_of_another_type(
    published: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], expected: str
) -> None:
    change_config(published, **change)
    assert f"tiny.yaml:3: init_from: published {expected}" in refusal(capsys, 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"num_hidden_layers": 101}, "model: num_layers must be between 1 and 100, got 101"),
        ({"hidden_size": 2**20}, "GB of memory; lower the sizes"),
    ],
)
def test_sizes_that_no_machine_can_hold(
    published: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], expected: str
) -> None:
    change_config(published, **change)
    assert expected in refusal(capsys, 2)


STRANGE_VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "a\nb",
    [],
    ["bert"],
    {},
    {"0": []},
]


OTHERS = ["model_type", "vocab_size", "pad_token_id", "id2label", "position_embedding_type", "is_decoder"]


def take(data: bytes) -> None:
    """Begin a run with these bytes for config.json, as far as its weights."""
    Path("published/config.json").write_bytes(data)
    config = checked_config("tiny.yaml")
    size = published_tokenizer(config).vocab_size
    with torch.device("meta"):  # no size is taken at its word before the weights have shown it
        model = build_model(config, size, len(LABELS))
    load_published(config, model, LABELS)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_damaged_configs_of_models(workplace: Path, kind: str) -> None:
    """Whatever stands in config.json, the weights come in or there is one line."""
    (workplace / "tiny.yaml").write_text(CONFIG.format(folder="published"))
    values = json.loads((write_published(workplace / "published", kind, labels=LABELS) / "config.json").read_text())
    sound = {key: values[key] for key in [*_OPTIONS[kind], *OTHERS] if key in values}
    changes = list(itertools.product([*sound, *OTHERS], STRANGE_VALUES))
    for key, value in changes if IS_FULL else changes[::4]:
        try:
            take(json.dumps(sound | {key: value}).encode())
        except GlassboxError as error:
            assert len(str(error).splitlines()) == 1
    take(json.dumps(sound).encode())
    fuzz([json.dumps(sound).encode()], take, GlassboxError, 30.0 if IS_FULL else 1.0)
