"""`list` prints what the tables hold, with the options that their constructors have."""

import json

import pytest

from datasets import DATASETS, TOKENIZERS
from graphs.losses import LOSSES
from graphs.models import ENCODERS
from main import main
from utils.optim import OPTIMIZERS
from utils.schedules import SCHEDULERS


def listed(capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["list", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_table_is_listed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    tables = {
        "data": DATASETS,
        "tokenizer": TOKENIZERS,
        "model": ENCODERS,
        "loss": LOSSES,
        "optimizer": OPTIMIZERS,
        "scheduler": SCHEDULERS,
    }
    for section, table in tables.items():
        assert set(table) <= set(found[section])
        assert all(found[section][name]["summary"] for name in table)
    assert found["agent"]["classification"]["summary"]


def test_options_have_types_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert found["model"]["bilstm"]["options"]["pooling"] == {
        "type": "one of last, max, mean, attention",
        "default": "max",
    }
    assert found["optimizer"]["Adam"]["options"]["betas"] == {"type": "[float, float]", "default": [0.9, 0.999]}
    assert found["data"]["files"]["options"]["train"] == {"type": "str", "default": "required"}
    assert "vocab_size" not in found["model"]["bilstm"]["options"]
    assert found["train"]["(section)"]["options"]["batch_size"] == {"type": "int", "default": 64}
    assert found["(top level)"]["(section)"]["options"]["seed"] == {"type": "int", "default": 1}


def test_the_text_form_names_everything_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for table in found.values():
        for part in table.values():
            assert part["summary"] in text
