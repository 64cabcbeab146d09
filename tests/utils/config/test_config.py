"""Config files, their bases and overrides: what is inherited, what is replaced, and that every key knows its place."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.config.config import Config, flatten, load_config
from utils.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**texts: str) -> None:
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)


def refusal(path: str, overrides: Any = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BASE = "agent: x\nmodel:\n  name: bilstm\n  hidden_size: 5\n  dropout: 0.1\ntrain:\n  num_epochs: 3\n"


# Bases.


def test_a_base_is_inherited_key_by_key(folder: Path) -> None:
    write(base=BASE, child="base: base.yaml\nmodel:\n  hidden_size: 7\ntrain:\n  patience: 2\n")
    config = load_config("child.yaml")
    assert config.model == {"name": "bilstm", "hidden_size": 7, "dropout": 0.1}
    assert config.train == {"num_epochs": 3, "patience": 2}
    assert "base" not in config


def test_every_key_has_its_own_place(folder: Path) -> None:
    write(base=BASE, child="base: base.yaml\nmodel:\n  hidden_size: 7\n")
    config = load_config("child.yaml", ["train.patience=2"])
    places = {
        "agent": "base.yaml:1",
        "model": "child.yaml:2",
        "model.name": "base.yaml:3",
        "model.hidden_size": "child.yaml:3",
        "model.dropout": "base.yaml:5",
        "train.num_epochs": "base.yaml:7",
        "train.patience": "command line",
        "model.nowhere": "child.yaml:2",  # the section around it
        "nowhere": "child.yaml",
    }
    assert {key: config.place(key) for key in places} == places


def test_another_part_replaces_its_section_whole(folder: Path) -> None:
    write(base=BASE, child="base: base.yaml\nmodel:\n  name: boe\n")
    config = load_config("child.yaml")
    assert config.model == {"name": "boe"}
    assert config.place("model.hidden_size") == "child.yaml:2", "the old part's line is not to be blamed"


def test_the_same_part_named_again_keeps_its_options(folder: Path) -> None:
    write(base=BASE, child="base: base.yaml\nmodel:\n  name: bilstm\n  dropout: 0.3\n")
    assert load_config("child.yaml").model == {"name": "bilstm", "hidden_size": 5, "dropout": 0.3}


@pytest.mark.parametrize(("line", "removed"), [("model: null", "model"), ("model:\n  dropout:", "model.dropout")])
def test_null_removes_a_key(folder: Path, line: str, removed: str) -> None:
    write(base=BASE, child=f"base: base.yaml\n{line}\n")
    whole, config = load_config("base.yaml"), load_config("child.yaml")
    assert config.place(removed).startswith("child.yaml:"), "where it was removed"
    left = {key for key in flatten(whole) if not f"{key}.".startswith(f"{removed}.")}
    assert flatten(config).keys() == left


def test_a_base_is_found_beside_the_file_that_names_it(folder: Path) -> None:
    Path("a/b").mkdir(parents=True)
    Path("a/base.yaml").write_text("seed: 1\n")
    Path("a/b/middle.yaml").write_text("base: ../base.yaml\ndevice: cpu\n")
    Path("top.yaml").write_text("base: a/b/middle.yaml\n")
    config = load_config("top.yaml")
    assert (config.seed, config.device) == (1, "cpu")
    assert config.place("seed") == "a/b/../base.yaml:1"


def test_a_cycle_of_bases_is_refused_with_its_names(folder: Path) -> None:
    write(a="base: b.yaml", b="\nbase: c.yaml", c="base: a.yaml")
    assert refusal("a.yaml") == "c.yaml:1: base: leads back to a file above it (a.yaml -> b.yaml -> c.yaml -> a.yaml)"
    write(self="base: ./self.yaml")
    assert "self.yaml -> self.yaml" in refusal("self.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("base: nowhere.yaml", "a.yaml:1: base: nowhere.yaml: no such config; there are a.yaml"),
        ("base: 3", "a.yaml:1: base must be the path of a config, got 3"),
        ("base:", "a.yaml:1: base must be the path of a config, got None"),
        ("base: .", "a.yaml:1: base: .: is a folder; a config is a file, such as configs/bilstm.yaml"),
        ('base: "a\\0b"', "a.yaml:1: base: a\\x00b: cannot be read: embedded null byte"),
        ("base: loop", "a.yaml:1: base: loop: cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_base_that_cannot_be_read_names_the_line_that_wants_it(folder: Path, line: str, message: str) -> None:
    Path("loop").symlink_to("loop")
    write(a=line)
    assert refusal("a.yaml") == message


# Files.


@pytest.mark.parametrize("text", ["", "- 1\n", "word", "[]"])
def test_a_config_is_a_mapping(folder: Path, text: str) -> None:
    write(a=text)
    assert refusal("a.yaml") == "a.yaml: a config is a mapping of sections (agent:, data:, model:, ...)"


def test_a_missing_config_names_those_that_are_there(folder: Path) -> None:
    write(bilstm="agent: x", boe="agent: x")
    assert refusal("bilstn.yaml") == "bilstn.yaml: no such config; did you mean bilstm.yaml?"
    assert refusal("x.yaml") == "x.yaml: no such config; there are bilstm.yaml, boe.yaml"
    assert refusal("none/a.yaml") == "none/a.yaml: no such config; there is no YAML file in none"


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    Path("a.yaml").write_bytes(b"agent: \xff\xfe")
    assert refusal("a.yaml").startswith("a.yaml: cannot be read: 'utf-8' codec can't decode")
    assert refusal(".") == ".: is a folder; a config is a file, such as configs/bilstm.yaml"


def test_a_file_without_an_end_is_refused(folder: Path) -> None:
    Path("a.yaml").symlink_to("/dev/zero")
    assert refusal("a.yaml") == "a.yaml: larger than 256 KB; a config is short"


def test_a_config_may_come_through_a_pipe(folder: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"agent: x\n")
    os.close(writer)
    assert load_config(f"/dev/fd/{reader}").agent == "x"
    os.close(reader)


# Overrides.


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "command line: 'lr' is not key=value, such as optimizer.lr=3e-4"),
        ("=3", "command line: '=3' is not key=value, such as optimizer.lr=3e-4"),
        (
            "model.dropout=",
            "command line: model.dropout= is empty (a variable of the shell that is not set?); "
            "write model.dropout=null to remove the option",
        ),
        ("model..x=3", "command line: model..x cannot be a key"),
        (".x=3", "command line: .x cannot be a key"),
        ("agent.name=3", "command line: agent.name: agent is a value, not a section"),
        ("model.hidden_size.x=3", "command line: model.hidden_size.x: model.hidden_size is a value, not a section"),
        (
            "data.train=a\udcff.csv",
            "command line: data.train: holds bytes that are not UTF-8; if it is a path, rename the file or link to it",
        ),
        ("model.x=010", "command line: model.x: 010 has a leading zero; write 10 or '010'"),
        ("model.x=!!int 3", "command line: model.x: the tag !!int is not allowed; write a plain value"),
        ("model={a: 1, a: 2}", "command line: model: a is given twice (first on line 1)"),
    ],
)
def test_an_override_is_checked_like_a_file(folder: Path, override: str, message: str) -> None:
    write(a=BASE)
    assert refusal("a.yaml", [override]) == message


def test_an_override_given_twice_is_refused(folder: Path) -> None:
    write(a=BASE)
    assert refusal("a.yaml", ["seed=1", "seed=2"]) == "command line: seed is given twice"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_changed_part_drops_the_files_options_and_takes_its_own(folder: Path, reverse: bool) -> None:
    write(a=BASE)
    words = ["model.embedding_size=3", "model.name=boe"]
    config = load_config("a.yaml", words[::-1] if reverse else words)
    assert config.model == {"name": "boe", "embedding_size": 3}
    assert config.place("model.dropout") == "a.yaml:2", "no line of the old part"


@pytest.mark.parametrize("reverse", [False, True])
def test_an_option_comes_after_its_section(folder: Path, reverse: bool) -> None:
    write(a=BASE)
    words = ["model.dropout=0.5", "model={name: boe, dropout: 0.2}"]
    assert load_config("a.yaml", words[::-1] if reverse else words).model == {"name": "boe", "dropout": 0.5}


def test_a_null_that_removes_nothing_is_kept_with_its_place(folder: Path) -> None:
    (folder / "a.yaml").write_text("model: {name: bilstm, dropout: 0.2, hidden_size: 5}\n")
    (folder / "b.yaml").write_text("base: a.yaml\nmodel: {dropout: null, size: null}\ndata: {limit: {train: null}}\n")
    config = load_config("b.yaml", ["data.files.en=null", "model.hidden_size=null", "trane=null"])
    assert config.nulls == {
        "model.size": "b.yaml:2",
        "data.limit.train": "b.yaml:3",
        "data.files.en": "command line",
        "trane": "command line",
    }


def test_an_override_by_null_removes_a_key(folder: Path) -> None:
    write(a=BASE)
    assert load_config("a.yaml", ["model.dropout=null"]).model == {"name": "bilstm", "hidden_size": 5}


def test_a_mapping_of_overrides_does_the_same_as_words(folder: Path) -> None:
    write(a=BASE)
    words = load_config("a.yaml", ["train.num_epochs=9", "model.name=boe", "data={a: {b: 1}}"])
    mapping = load_config("a.yaml", {"train.num_epochs": 9, "model.name": "boe", "data": {"a": {"b": 1}}})
    assert words == mapping
    assert words.places == mapping.places
    assert words.place("data.a.b") == "command line"


def test_a_key_of_data_may_be_called_as_a_method_is_or_be_a_number(folder: Path) -> None:
    labels = [
        "update",
        "copy",
        "clear",
        "get",
        "items",
        "keys",
        "pop",
        "values",
        "name",
        "base",
        "__class__",
        "a.b",
        "1",
        "null",
    ]
    weights = {label: float(i) for i, label in enumerate(labels)}
    write(a=BASE)
    by_word = load_config("a.yaml", [f"loss.class_weights={{{', '.join(f'{k}: {w}' for k, w in weights.items())}}}"])
    by_mapping = load_config("a.yaml", {"loss": {"class_weights": weights}})
    write(b="base: a.yaml\nloss:\n  class_weights:\n" + "".join(f"    {k}: {w}\n" for k, w in weights.items()))
    for config in (by_word, by_mapping, load_config("b.yaml")):
        assert dict(config.loss.class_weights) == weights
        assert config.to_dict()["loss"]["class_weights"] == weights
        assert list(config.loss.class_weights.items()) == list(weights.items())
        assert config.loss.class_weights.copy().get("values") == 7.0
        write(again=config.to_yaml())
        assert load_config("again.yaml").to_dict() == config.to_dict()
    more = load_config(
        "b.yaml", {"loss.class_weights": {1: 5.0, False: 6.0, "update": 7.0}, "loss.class_weights.items": 9.0}
    )
    assert dict(more.loss.class_weights) == weights | {"1": 5.0, "false": 6.0, "update": 7.0, "items": 9.0}


def test_a_label_called_name_changes_no_part(folder: Path) -> None:
    write(a=BASE + "loss: {class_weights: {name: 2.0, spam: 3.0}}\n")
    assert load_config("a.yaml", ["loss.class_weights={name: 5.0}"]).loss.class_weights == {"name": 5.0, "spam": 3.0}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "a"),
        (["optimizer.lr=3e-4"], "a-optimizer.lr=0.0003"),
        (["model.bidirectional=true", "seed=2"], "a-model.bidirectional=true-seed=2"),
        (["data.train=data/x.csv"], "a-data.train=data_x.csv"),
        (["data.train='data\\x\u202e.csv'"], "a-data.train=data_x_.csv"),
        (['data.train="a\\tb.csv"'], "a-data.train=a_b.csv"),
        (["data.fields=[title, text]"], "a-data.fields=['title','text']"),
        (["train.patience=3", "num_threads=1", "distributed={timeout: 3}", "seed=2"], "a-seed=2"),
        (["train={patience: 3, batch_size: 2}"], "a-train={'patience':3,'batch_size':2}"),
        (["model.dropout=null"], "a-model.dropout=null"),
        (["name=other", "seed=2"], "other"),
    ],
)
def test_the_default_name_tells_what_makes_it_another_run(folder: Path, overrides: list[str], name: str) -> None:
    write(a=BASE)
    assert load_config("a.yaml", overrides, free=["num_threads", "train.patience", "distributed.timeout"]).name == name


def test_what_is_fixed_is_all_but_the_free_keys(folder: Path) -> None:
    write(a="seed: 1\nnum_threads: 2\ntrain: {patience: 3, batch_size: 4}\n")
    config = load_config("a.yaml", free=["num_threads", "train.patience"])
    assert config.fixed() == {"seed": 1, "train.batch_size": 4, "name": "a"}


# The Config itself.


def test_keys_are_attributes_too(folder: Path) -> None:
    write(a=BASE)
    config = load_config("a.yaml")
    assert config.model.hidden_size == config["model"]["hidden_size"] == 5
    with pytest.raises(AttributeError, match="nowhere"):
        _ = config.nowhere
    config["model"] = {"name": "boe"}
    assert config.model.name == "boe"
    assert len(config) == len(list(config)) == 4
    del config["model"]
    assert "model" not in config


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["1e5", "no", "010", "~", ""])
KEYS = WORDS.filter(lambda key: key != "base")
LEAVES = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | WORDS
VALUES = st.recursive(
    LEAVES | st.lists(LEAVES, max_size=3), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@given(values=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_a_saved_config_loads_to_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    config = Config(values | {"name": "x"}, path, {})
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert repr(load_config(path).to_dict()) == repr(config.to_dict())


def test_a_saved_config_is_plain(folder: Path) -> None:
    config = Config({"name": "x", "a": {"b": (1, {"c": 2})}}, Path("a.yaml"), {})
    assert repr(config.to_dict()) == "{'name': 'x', 'a': {'b': [1, {'c': 2}]}}"


# Names that are made here.

LONG = [
    f"data.train=somewhere/far/away/reviews-{i}.csv" if i == 0 else f"model.option_{i}={'v' * 20}" for i in range(6)
]


def test_a_long_name_is_its_beginning_and_a_hash(folder: Path) -> None:
    write(a=BASE)
    name = load_config("a.yaml", LONG).name
    assert name.startswith("a-data.train=somewhere_far_away_reviews-0.csv-model.option_1=")
    assert len(name) == 100
    assert name == load_config("a.yaml", LONG).name
    others = [[*LONG[:-1], LONG[-1] + "x"], [LONG[0].replace("far/", "far_"), *LONG[1:]], LONG[:-1]]
    assert len({name, *(load_config("a.yaml", other).name for other in others)}) == 4


def test_a_long_name_in_any_script_is_that_of_a_folder(folder: Path) -> None:
    write(a=BASE)
    name = load_config("a.yaml", [f"data.label={'語' * 90}"]).name
    assert len(name.encode()) <= 100
    Path(name).mkdir()
    assert load_config("a.yaml", [f"data.label={'x' * 5000}"]).name.startswith("a-data.label=xxx")


def test_a_run_with_a_long_name_of_an_earlier_version_is_found(folder: Path) -> None:
    write(a=BASE)
    words = [f"data.train={'r' * 90}.csv", "model.hidden_size=7"]
    name = f"a-data.train={'r' * 90}.csv-model.hidden_size=7"
    assert load_config("a.yaml", words).name != name
    Path("experiments", name).mkdir(parents=True)
    assert load_config("a.yaml", words).name == name


def test_the_longest_short_name_stays_as_it_is(folder: Path) -> None:
    write(a=BASE)
    word = f"model.option={'v' * (100 - len('a-model.option='))}"
    assert load_config("a.yaml", [word]).name == f"a-{word}"
    assert load_config("a.yaml", [word + "v"]).name != f"a-{word}v"
