"""The signature is the schema: names, presence and types of options, and every registered part keeps the rules."""

import inspect
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from agents import AGENTS, checked_config
from main import main
from utils.config.config import Config
from utils.config.run_settings import RunSettings
from utils.config.schema import (
    REQUIRED,
    Section,
    TorchPart,
    changed_defaults,
    check_config,
    check_section,
    construct,
    convert,
    describe,
    options_of,
    sizes_of,
)
from utils.errors import ConfigError


class Part:
    """A part with an option of every kind."""

    def __init__(
        self,
        vocab_size: int,
        *,
        path: str,
        hidden_size: int = 8,
        dropout: float = 0.0,
        pooling: Literal["max", "mean"] = "max",
        is_shared: bool = False,
        sizes: list[int] = (1, 2),
        weights: dict[str, float] | None = None,
    ) -> None:
        if hidden_size % 2:
            raise ValueError(f"hidden_size must be even, whatever path and sizes are, got {hidden_size}")
        self.options = (vocab_size, path, hidden_size, dropout, pooling, is_shared, sizes, weights)


class Shared:
    """Options that a section has whatever its part."""

    def __init__(self, *, limit: int | None = None) -> None:
        pass


PARTS = {"part": Part, "sgd": TorchPart(torch.optim.SGD, ("lr", "momentum"))}
DEFAULTS = {"hidden_size": 8, "dropout": 0.0, "pooling": "max", "is_shared": False, "sizes": [1, 2], "weights": None}


def config_of(**values: Any) -> Config:
    """A config whose section `model` has these values, each on a line of its own."""
    places = {"model": "a.yaml:1", **{f"model.{name}": f"a.yaml:{i}" for i, name in enumerate(values, 2)}}
    return Config({"agent": "x", "name": "run", "model": values}, Path("a.yaml"), places)


def checked(**values: Any) -> dict[str, Any]:
    return check_section(config_of(name="part", **values), "model", Section(PARTS))


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(**values)
    return str(caught.value)


# Options.


def test_keyword_only_parameters_are_options_and_the_others_sizes() -> None:
    assert list(options_of(Part)) == ["path", *DEFAULTS]
    assert sizes_of(Part) == ["vocab_size"]
    assert list(options_of(PARTS["sgd"])) == ["lr", "momentum"]
    assert sizes_of(PARTS["sgd"]) == []


def test_defaults_are_filled_in() -> None:
    assert checked(path="p") == {"name": "part", "path": "p", **DEFAULTS}


def test_a_default_list_is_a_new_one_each_time() -> None:
    checked(path="p")["sizes"].append(3)
    assert checked(path="p")["sizes"] == [1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden_size": 3}, "a.yaml:4: model.hiden_size is not an option of part; did you mean hidden_size?"),
        ({"zzz": 3}, "a.yaml:4: model.zzz is not an option of part; its options: path, hidden_size, dropout, pooling,"),
        ({"vocab_size": 3}, "a.yaml:4: model.vocab_size is not an option of part"),
        ({"hidden_size": True}, "a.yaml:4: model.hidden_size must be a whole number, got True"),
        ({"hidden_size": 2.0}, "a.yaml:4: model.hidden_size must be a whole number, got 2.0"),
        ({"hidden_size": "2"}, "a.yaml:4: model.hidden_size must be a whole number, got '2'"),
        ({"hidden_size": None}, "a.yaml:4: model.hidden_size must be a whole number, got None"),
        ({"hidden_size": 2**63}, "a.yaml:4: model.hidden_size must be a whole number, got 9223372036854775808, which is beyond 64 bits"),
        ({"dropout": True}, "a.yaml:4: model.dropout must be a number, got True"),
        ({"dropout": "0.1"}, "a.yaml:4: model.dropout must be a number, got '0.1'"),
        ({"dropout": float("nan")}, "a.yaml:4: model.dropout must be a number, got nan, which is not finite"),
        ({"dropout": float("-inf")}, "a.yaml:4: model.dropout must be a number, got -inf, which is not finite"),
        ({"dropout": 10**400}, "a.yaml:4: model.dropout must be a number, got 1000"),
        ({"pooling": "Max"}, "a.yaml:4: model.pooling must be one of max, mean, got 'Max'"),
        ({"pooling": ["max"]}, "a.yaml:4: model.pooling must be one of max, mean, got ['max']"),
        ({"is_shared": 1}, "a.yaml:4: model.is_shared must be true or false, got 1"),
        ({"is_shared": "no"}, "a.yaml:4: model.is_shared must be true or false, got 'no'"),
        ({"sizes": 3}, "a.yaml:4: model.sizes must be a list of int, got 3"),
        ({"sizes": [3, 4.5]}, "a.yaml:4: model.sizes must be a list of int, got [3, 4.5]"),
        ({"sizes": "34"}, "a.yaml:4: model.sizes must be a list of int, got '34'"),
        ({"weights": {"a": "b"}}, "a.yaml:4: model.weights must be a mapping of str to float or null, got {'a': 'b'}"),
        ({"weights": []}, "a.yaml:4: model.weights must be a mapping of str to float or null, got []"),
        ({"path": 3}, "a.yaml:3: model.path must be text, got 3"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_on_its_line(values: dict[str, Any], message: str) -> None:
    assert refusal(**{"path": "p", **values}).startswith(message)


def test_a_missing_required_option_is_told_at_the_section() -> None:
    assert refusal(hidden_size=2) == "a.yaml:1: model.path is missing (str, needed by part)"


def test_an_int_serves_as_a_float_and_nothing_else_is_converted() -> None:
    values = checked(path="p", dropout=1, weights={"a": 2}, sizes=(3,))
    assert repr([values["dropout"], values["weights"], values["sizes"]]) == "[1.0, {'a': 2.0}, [3]]"


@pytest.mark.parametrize(
    ("kind", "words", "right", "wrong"),
    [
        (int, "int", 3, 3.0),
        (int | None, "int or null", None, "x"),
        (float | str, "float or str", 3, None),
        (list[str], "list of str", ["a"], "a"),
        (tuple[float, float], "[float, float]", [0.9, 1], [0.9]),
        (Literal[1, 2], "one of 1, 2", 2, True),
        (dict[str, float], "mapping of str to float", {"a": 1}, {1: 1.0}),
        (float | torch.Tensor, "float", 1, "1"),
        (str | list[str], "str or list of str", ["a"], [1]),
    ],
)
def test_a_type_has_words_and_takes_what_they_say(kind: Any, words: str, right: Any, wrong: Any) -> None:
    assert describe(kind) == words
    assert convert(right, kind) == right
    with pytest.raises(TypeError):
        convert(wrong, kind)


# Sections.


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_of(name="prat"), "a.yaml:2: model.name: 'prat' is unknown; did you mean part?; known: part, sgd"),
        (config_of(name=["part"]), "a.yaml:2: model.name: ['part'] is unknown"),
        (config_of(), "a.yaml:1: model.name is missing; known: part, sgd"),
        (Config({"model": "part"}, Path("a.yaml"), {"model": "a.yaml:3"}),
         "a.yaml:3: model must be a section, such as model: {name: part}; got 'part'"),
        (Config({}, Path("a.yaml"), {}), "a.yaml: model.name is missing; known: part, sgd"),
    ],
)  # fmt: skip
def test_a_section_names_a_known_part(config: Config, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_section(config, "model", Section(PARTS))
    assert str(caught.value).startswith(message)


def test_a_section_may_have_a_default_part_and_shared_options() -> None:
    section = Section(PARTS, shared=Shared, default="sgd")
    values = check_section(config_of(momentum=1, limit=3), "model", section)
    assert values == {"name": "sgd", "lr": 1e-3, "momentum": 1.0, "limit": 3}
    with pytest.raises(ConfigError, match=r"a.yaml:2: model\.limt is not an option of sgd; did you mean limit\?"):
        check_section(config_of(limt=3), "model", section)


def test_torch_options_are_its_own_and_only_the_listed_ones() -> None:
    section = Section(PARTS)
    assert check_section(config_of(name="sgd"), "model", section) == {"name": "sgd", "lr": 1e-3, "momentum": 0}
    with pytest.raises(ConfigError, match=r"model\.foreach is not an option of sgd; its options: lr, momentum"):
        check_section(config_of(name="sgd", foreach=True), "model", section)


def test_an_optional_section_is_left_out_and_an_unknown_one_refused() -> None:
    sections = {"model": Section(PARTS, default="sgd"), "extra": Section(shared=Part, is_optional=True)}
    config = Config({"agent": "x", "name": "run"}, Path("a.yaml"), {})
    check_config(config, sections, RunSettings)
    assert list(config)[-1] == "model"
    config = Config({"agent": "x", "name": "run", "modle": {}}, Path("a.yaml"), {"modle": "a.yaml:4"})
    with pytest.raises(ConfigError, match=r"a.yaml:4: modle is not a section of agent x; did you mean model\?"):
        check_config(config, sections, RunSettings)


# Construction.


def test_a_part_is_built_from_its_options_and_the_sizes_it_asks_for() -> None:
    values = checked(path="p", hidden_size=4) | {"of_another_part": 1}
    part = construct(config_of(**values), "model", Part, values, vocab_size=100, num_labels=3)
    assert part.options == (100, "p", 4, 0.0, "max", False, [1, 2], None)


def test_a_refused_value_lands_on_the_line_of_the_option_that_is_named_first() -> None:
    values = {"path": "p", "sizes": [1], "hidden_size": 3}
    with pytest.raises(ConfigError) as caught:
        construct(config_of(**values), "model", Part, values, vocab_size=1)
    assert str(caught.value) == "a.yaml:4: model: hidden_size must be even, whatever path and sizes are, got 3"


def raise_value_error() -> None:
    raise ValueError("first line\nsecond line")


def raise_runtime_error() -> None:
    torch.empty(2**40, 2**40, device="meta")


def raise_bug() -> None:
    torch.ones(2) @ torch.ones(3)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (raise_value_error, "a.yaml:1: model: first line"),
        (
            raise_runtime_error,
            r"a.yaml:1: model: is too large for any memory \(Storage size calculation overflowed with sizes=\[1099511627776, 10",
        ),
    ],
)
def test_a_refusal_without_an_option_lands_on_the_section_in_one_line(part: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}[^\n]*$"):
        construct(config_of(hidden_size=1), "model", part, {"hidden_size": 1})


def test_a_bug_in_a_constructor_stays_a_bug() -> None:
    with pytest.raises(RuntimeError, match="size"):
        construct(config_of(), "model", raise_bug, {})


# The rules that every registered part keeps.

SECTIONS = [(key, section) for agent in AGENTS.values() for key, section in agent.sections.items()]
REGISTERED = [(key, name, part) for key, section in SECTIONS for name, part in (section.parts or {}).items()]
SHARED = [(key, "", part) for key, section in SECTIONS for part in section.shared_parts]
ALL = [pytest.param(part, id=f"{key}.{name}" if name else key) for key, name, part in REGISTERED + SHARED]


@pytest.mark.parametrize("part", ALL)
def test_null_is_the_default_wherever_it_is_allowed(part: Any) -> None:
    """A key that is removed and a key that is null must be the same."""
    nullable = [o for o in options_of(part).values() if "null" in describe(o.type).split(" or ")]
    assert [o.name for o in nullable if o.default is not None] == []


@pytest.mark.parametrize("part", ALL)
def test_a_default_is_a_value_that_a_config_could_give(part: Any) -> None:
    for option in options_of(part).values():
        assert option.type is not Any, f"{option.name} needs a type"
        if option.default is not REQUIRED:
            plain = list(option.default) if isinstance(option.default, tuple) else option.default
            assert convert(option.default, option.type) == plain, option.name


@pytest.mark.parametrize("part", [*AGENTS.values(), *[p for p in ALL if not isinstance(p.values[0], TorchPart)]])
def test_every_part_says_in_one_line_what_it_is(part: Any) -> None:
    own = part.__dict__.get("__doc__") or ""
    first, _, rest = inspect.cleandoc(own).partition("\n")
    assert len(first) > 20
    assert first.endswith((".", ":"))
    assert rest == "" or rest.startswith("\n") or part in AGENTS.values(), "the first line stands alone"


@pytest.mark.parametrize(("key", "section"), [pytest.param(key, section, id=key) for key, section in SECTIONS])
def test_shared_options_do_not_hide_those_of_a_part(key: str, section: Section) -> None:
    shared = {name for part in section.shared_parts for name in options_of(part)}
    assert len(shared) == sum(len(options_of(part)) for part in section.shared_parts)
    for name, part in (section.parts or {}).items():
        assert shared & set(options_of(part)) == set(), name
        assert "name" not in options_of(part), name
        assert name != "name"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["scheduler.name=cosine"], ["scheduler.warmup_steps is 0, the default of cosine, and 600"]),
        (["scheduler={name: cosine}"], ["scheduler.warmup_steps is 0, the default of cosine, and 600"]),
        (["scheduler.name=cosine", "scheduler.warmup_steps=600"], []),
        (["scheduler.name=noam"], ["scheduler.warmup_steps is 4000, the default of noam, and 600"]),
        (["scheduler.name=linear"], []),
        (["optimizer.weight_decay=null"], []),
        (
            ["optimizer.name=SGD", "optimizer.lr=0.1"],
            ["optimizer.weight_decay is 0, the default of SGD, and 0.01"],
        ),
    ],
    ids=str,
)
def test_an_option_that_goes_with_its_part_is_named(overrides: list[str], named: list[str]) -> None:
    path = Path("configs/multi30k_de_en.yaml")
    lines = changed_defaults(checked_config(path, overrides))
    assert [line.partition(" in configs/")[0] for line in lines] == named
    assert all(line.endswith(f"in {path}; give {line.split()[0]}, too, to keep that") for line in lines)


def test_a_run_says_which_options_went_with_their_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs/bilstm.yaml", "model.name=transformer", "--dry-run"]) == 0
    line = "warning: model.hidden_size is 256, the default of transformer, and 100 in configs/bilstm.yaml; give model.hidden_size"
    assert line in capsys.readouterr().err
