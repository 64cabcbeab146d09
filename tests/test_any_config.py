"""Any text, any YAML and any value as a config is a checked config or a ConfigError in one line, and nothing else."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import IS_FULL, TINY_CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import checked_config
from graphs.models import ENCODERS
from utils.config.config import Config, flatten, load_config
from utils.config.schema import options_of
from utils.errors import ConfigError

ANY = settings(max_examples=2000 if IS_FULL else 100)
VALUES: dict[str, Any] = yaml.safe_load(TINY_CONFIG)
KEYS = sorted(
    [*flatten(VALUES), *VALUES, "loss.name", "scheduler", "tokenizer.ngrams", "base", "seed", "name", "device"]
)
ENCODER = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 8, "max_positions": 16}
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=6)
    | st.sampled_from([0, 1, -1, 0.5, 1e9, 10**9, 10**18, 2**63, "1e-4", "no", "cpu", "../x", "a" * 300, "bilstm"])
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with contextlib.chdir(tmp_path_factory.mktemp("configs")):
        yield


def check(text: str | bytes) -> Config | None:
    """The checked config of a file, or None where it is refused in one line that names the file."""
    Path("any.yaml").write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        return checked_config("any.yaml")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1, str(error)
        assert str(error).startswith("any.yaml"), str(error)
        return None


def check_twice(values: dict[str, Any]) -> None:
    """A config that is checked is the same config when it has been saved."""
    config = check(yaml.safe_dump(values, allow_unicode=True))
    if config is not None:
        Path("again.yaml").write_text(config.to_yaml(), encoding="utf-8")
        assert checked_config("again.yaml").to_dict() == config.to_dict()


@ANY
@given(text=st.text(max_size=60) | st.text("ab:-[]{}#&*!|>'\"%@ \n\t,?", max_size=40))
def test_any_text_is_a_config_or_refused(text: str) -> None:
    check(text)


@ANY
@given(tree=TREES)
def test_any_values_are_a_config_or_refused(tree: Any) -> None:
    check(yaml.safe_dump(tree, allow_unicode=True))


@ANY
@given(key=st.sampled_from(KEYS), value=TREES)
def test_any_value_of_any_key_is_checked_or_refused(key: str, value: Any) -> None:
    *sections, last = key.split(".")
    values: dict[str, Any] = {**VALUES, **{section: dict(VALUES.get(section, {})) for section in sections}}
    (values[sections[0]] if sections else values)[last] = value
    check_twice(values)


@pytest.mark.parametrize("name", ["transformer", "bert"])
@ANY
@given(data=st.data())
def test_any_options_of_a_transformer_are_checked_or_refused(name: str, data: st.DataObject) -> None:
    """Several sizes at once, which must fit each other, and one option of any value."""
    small, keys = st.integers(-2, 9), st.sampled_from(sorted(options_of(ENCODERS[name])))
    sizes = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(ENCODER, small)))
    given = sizes | data.draw(st.dictionaries(keys, st.floats(0, 1, allow_subnormal=False) | TREES, max_size=1))
    length = data.draw(st.none() | st.integers(1, 20))
    check_twice(VALUES | {"model": {"name": name, **ENCODER, **given}, "data": VALUES["data"] | {"max_length": length}})


@ANY
@given(word=st.text(max_size=20) | st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=12)))
def test_any_word_on_the_command_line_is_an_override_or_refused(word: str) -> None:
    Path("tiny.yaml").write_text(TINY_CONFIG)
    try:
        assert isinstance(load_config("tiny.yaml", [word]), Config)
        checked_config("tiny.yaml", [word])
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
