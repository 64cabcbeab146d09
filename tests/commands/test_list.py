"""`list` prints what the tables hold, with the options that their constructors have."""

import json

import pytest

from commands.list import sentences_of
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


def test_one_section_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "model"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("model:\n")
    assert "\n\n" not in text
    assert main(["list", "modle"]) == 2
    assert capsys.readouterr().err.startswith("list: there is no section 'modle'; known: agent, (top level), data,")


def test_defaults_stand_as_in_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for line in (
        "fields: list of str = [text]",
        "split: list of float = [0.8, 0.1, 0.1]",
        "bool = false",
        "or null = null",
    ):
        assert line in text


def test_options_have_types_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    expected = {
        ("model", "bilstm", "pooling"): ("one of last, max, mean, attention", "max"),
        ("optimizer", "Adam", "betas"): ("[float, float]", [0.9, 0.999]),
        ("optimizer", "(any)", "layer_decay"): ("float or null", None),
        ("data", "files", "train"): ("str", "required"),
        ("train", "(section)", "batch_size"): ("int", 64),
        ("train", "(section)", "precision"): ("one of float32, mixed, auto", "float32"),
        ("freeze", "(section)", "layers"): ("int or one of all", "all"),
        ("average", "(section)", "decay"): ("float", 0.999),
        ("loss", "(any)", "r_drop"): ("float", 0.0),
        ("model", "transformer", "compile_layers"): ("bool", False),
        ("(top level)", "(section)", "seed"): ("int", 1),
    }
    for (section, part, option), value in expected.items():
        facts = found[section][part]["options"][option]
        assert (facts["type"], facts["default"]) == value
    assert "vocab_size" not in found["model"]["bilstm"]["options"]


def test_every_option_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them but those of torch's optimizers, whose classes are named and which torch documents."""
    for section, table in listed(capsys).items():
        for part, facts in table.items():
            silent = [option for option, about in facts["options"].items() if not about["about"]]
            assert silent == [] or facts["summary"].startswith("torch.optim."), f"{section}, {part}"


def test_a_sentence_is_the_class_own_or_that_of_the_class_it_extends(capsys: pytest.CaptureFixture[str]) -> None:
    model = listed(capsys)["model"]
    heads = [model[name]["options"]["num_heads"]["about"] for name in ("transformer", "bert")]
    assert heads == ["attentions side by side in a layer, each on hidden_size / num_heads of the numbers"] * 2

    class Parent:
        """A part.

        size: of the parent
        rate: how fast
        """

    class Child(Parent):
        """A smaller part.

        size: of the child
        """

    assert sentences_of(Child) == {"size": "of the child", "rate": "how fast"}


def test_the_text_form_names_everything_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for table in found.values():
        for part in table.values():
            assert part["summary"] in text
            for option, facts in part["options"].items():
                assert f"\n      {option}: {facts['type']} = " in text
                assert f"\n          {facts['about']}\n" in text or not facts["about"]
    assert max(map(len, text.splitlines())) <= 130
