"""`list` prints what the tables hold, with the options that their constructors have."""

import json

import pytest
from conftest import ROOT

from agents import AGENTS
from commands.list import sentences_of
from datasets import DATASETS, TOKENIZERS
from graphs.losses import LOSSES
from graphs.models import ENCODERS
from main import main
from utils.optimizers.building import OPTIMIZERS
from utils.optimizers.schedules import SCHEDULERS

CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/*.yaml"))


@pytest.fixture(autouse=True)
def own_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the toy that other tests of this process may have entered (tests/reliability/toys.py)."""
    monkeypatch.delitem(AGENTS, "masked", raising=False)


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
    metrics = {name: part["summary"] for names, part in found["metrics"].items() for name in names.split(", ")}
    assert {name: names.split(", ") for name, names in metrics.items()} == {
        name: list(agent.metrics) for name, agent in AGENTS.items()
    }
    assert {"accuracy", "mcc", "ece"} < set(metrics["classification"].split(", "))


def test_one_section_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "model"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("model:\n")
    assert "\n\n" not in text
    assert main(["list", "modle"]) == 2
    assert capsys.readouterr().err.startswith(
        "list: there is no section or option 'modle'; did you mean model?; known: agent, (top level), data,"
    )


def test_a_part_may_be_named_with_a_dot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "model", "bilstm"]) == 0
    expected = capsys.readouterr().out
    assert main(["list", "model.bilstm"]) == 0
    assert capsys.readouterr().out == expected


def test_one_option_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "train.patience"]) == 0
    assert [line.strip().partition(":")[0] for line in capsys.readouterr().out.splitlines()][:3] == [
        "train",
        "(section)",
        "patience",
    ]
    assert main(["list", "model.hidden_size", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["model"]
    assert {"bilstm", "transformer"} <= set(found)
    assert "bag_of_embeddings" not in found
    assert all(list(part["options"]) == ["hidden_size"] for part in found.values())
    assert main(["list", "seed"]) == 0
    assert capsys.readouterr().out.startswith("(top level):\n")
    assert main(["list", "patience", "--json"]) == 0  # of whatever section
    found = json.loads(capsys.readouterr().out)
    assert {section: list(table) for section, table in found.items()} == {
        "scheduler": ["reduce_on_plateau"],
        "train": ["(section)"],
    }
    for wrong, words in {
        "train.patiense": "list: there is no option of train 'patiense'; did you mean patience?; known: num_epochs,",
        "patiense": "list: there is no section or option 'patiense'; did you mean patience?; known: agent, ",
        "trian.patience": "list: there is no section 'trian'; did you mean train?",
    }.items():
        assert main(["list", wrong]) == 2
        assert capsys.readouterr().err.startswith(words)


def test_defaults_stand_as_in_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    text = ""
    for section in ("data", "optimizer"):
        assert main(["list", section]) == 0
        text += capsys.readouterr().out
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
        ("freeze", "(section)", "layers"): ("int or all", "all"),
        ("average", "(section)", "decay"): ("float", 0.999),
        ("loss", "(agent classification, similarity)", "r_drop"): ("float", 0.0),
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
    assert heads == ["number of attention heads in a layer; each has hidden_size / num_heads dimensions"] * 2

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


def test_the_text_form_of_a_section_names_everything_too(capsys: pytest.CaptureFixture[str]) -> None:
    for section, table in listed(capsys).items():
        assert main(["list", section]) == 0
        text = capsys.readouterr().out
        for part in table.values():
            assert part["summary"] in text.replace("\n      ", " ")  # a long one goes on in the next line
            for option, facts in part["options"].items():
                assert f"\n      {option}: {facts['type']} = " in text
                assert f"\n          {facts['about']}\n" in text or not facts["about"]
        assert max(map(len, text.splitlines())) <= 130


def test_the_overview_has_a_line_for_each_part_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    lines, whole = text.splitlines(), text.replace("\n      ", " ").splitlines()
    for section, table in found.items():
        assert f"{section}:" in lines
        assert all(f"  {name}: {part['summary']}" in whole for name, part in table.items() if not name.startswith("("))
    assert "  (any): layer_decay" in lines
    assert (
        lines[-1] == "options: python main.py list SECTION, such as model; or list SECTION PART, such as model bilstm"
    )
    assert len(whole) == 2 + sum(1 + len(table) for table in found.values())  # a blank line and the hint
    assert max(map(len, lines)) <= 130


def test_one_part_has_its_own_options_and_those_that_all_have(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert main(["list", "loss", "focal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "loss": {name: found["loss"][name] for name in ("focal", "(agent classification, similarity)")}
    }
    assert main(["list", "model", "bilstm"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("model:\n  bilstm: ")
    assert "      embedding_size: int = 100\n" in text
    assert "transformer" not in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["list", "models"], "list: there is no section or option 'models'; did you mean model?; known: agent, "),
        (["list", "model", "blstm"], "list: there is no part of model 'blstm'; did you mean bilstm?; known: "),
        (["list", "train", "x"], "list: there is no part of train 'x'; known: (section)"),
        (["lst"], "command line: there is no command 'lst'; did you mean list?"),
        (["pridict", "experiments/x"], "command line: there is no command 'pridict'; did you mean predict?"),
        (["find_lr", "configs/bilstm.yaml"], "command line: there is no command 'find_lr'; did you mean find-lr?"),
        (["blstm.yaml"], "blstm.yaml: no such config; did you mean configs/bilstm.yaml?"),
        (["configs/blstm.yaml"], "configs/blstm.yaml: no such config; did you mean configs/bilstm.yaml?"),
        (["config/bilstm.yml"], "config/bilstm.yml: no such config; did you mean configs/bilstm.yaml?"),
        (["bilstm"], "bilstm: no such config; did you mean configs/bilstm.yaml?"),
        (["zzz.yaml"], f"zzz.yaml: no such config; there are {', '.join(CONFIGS)}"),
    ],
)
def test_a_misspelt_word_is_told_what_was_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(line)
