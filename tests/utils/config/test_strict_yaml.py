"""Strict YAML: what a bare word means, what is refused and on which line, and that no text does anything else."""

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.config.strict_yaml import MAX_BYTES, MAX_DEPTH, dump, parse
from utils.errors import ConfigError


def value_of(text: str) -> Any:
    return parse(f"key: {text}", "a.yaml").value["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2.5e+3", -2500.0),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("2020-01-01", "2020-01-01"),
        ("12:30:00", "12:30:00"),
        ("'010'", "010"),
        ("'1e-4'", "1e-4"),
        ("[no, 1, 1.0]", ["no", 1, 1.0]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_a_bare_word_means_what_it_looks_like(text: str, expected: Any) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


def test_a_key_is_text_as_it_is_written() -> None:
    keys = ["items", "1", "1.0", "010", "true", "null", "~", "no", "a.b", "é"]
    assert value_of("{" + ", ".join(f"{key}: 3" for key in keys) + "}") == dict.fromkeys(keys, 3)


def test_infinity_and_nan_are_floats_that_a_schema_may_refuse() -> None:
    assert value_of("-.inf") == -math.inf
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "3: a is given twice (first on line 1)"),
        ("x:\n  a: 1\n  a: 2", "3: x.a is given twice (first on line 2)"),
        ("a: 010", "1: 010 has a leading zero; write 10 or '010'"),
        ("a: -08", "1: -08 has a leading zero; write -8 or '-08'"),
        ("a: &x 1\nb: *x", "2: the alias *x is not allowed; write the value out"),
        ("{1: 2, '1': 3}", "1: 1 is given twice (first on line 1)"),
        ("[a]: 1", "1: a key must be a word, not a list or mapping"),
        ("? {a: 1}\n: 2", "1: a key must be a word, not a list or mapping"),
        ("a: 1\n---\nb: 2", "2: expected a single document in the stream, but found another document"),
        ("a:\n\tb: 1", "2: while scanning for the next token, found character '\\t' that cannot start any token; indent with"),
        ("a: b: c", "1: mapping values are not allowed here"),
        ("a: 1\nb: [1, 2", "2: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n b: 2", "2: mapping values are not allowed here"),
        ('a: "\\ud800"', "1: '\\ud800' cannot be read as str"),
        ("a: " + "9" * 5000, "1: '" + "9" * 40 + "' cannot be read as int"),
    ],
)  # fmt: skip
def test_what_is_refused_names_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.yaml")
    assert str(caught.value).startswith(f"a.yaml:{message}")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['echo broken']",
        "a: !!python/object:os.system {x: 1}",
        "a: !!python/name:os.system",
        "a: !!int 'x'",
        "a: !!bool maybe",
        "a: !own [1]",
        "a: ! 3",
        "!!set {a, b}",
        "? !!str a\n: 1",
    ],
)
def test_no_tag_of_any_kind_is_taken(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^a.yaml:1: the tag !.* is not allowed; write a plain value$"):
        parse(text, "a.yaml")


@pytest.mark.parametrize("text", ["\x00", "a: \x07", "a: \ud800", 'a: "\\U00110000"', '"\\ud800": 1'])
def test_what_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^a.yaml: (not YAML: |holds bytes that are not UTF-8)"):
        parse(text, "a.yaml")


@pytest.mark.parametrize("text", ["", "# only a comment", "\n\n", "---\n"])
def test_an_empty_text_is_null(text: str) -> None:
    assert parse(text, "a.yaml").value is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_key_has_its_line(line_end: str) -> None:
    text = "\ufeffa: 1\n\n# comment\nb:\n  c: [1,\n    2]\n  d: {e: 1}\n".replace("\n", line_end)
    lines = parse(text, "a.yaml").lines
    assert lines == {("a",): 1, ("b",): 4, ("b", "c"): 5, ("b", "d"): 7, ("b", "d", "e"): 7}


def test_a_large_text_is_refused() -> None:
    assert parse("#" * MAX_BYTES, "a.yaml").value is None
    with pytest.raises(ConfigError, match="larger than 256 KB"):
        parse("#" + "é" * (MAX_BYTES // 2), "a.yaml")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_depth_is_limited(opening: str, closing: str) -> None:
    parse(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH, "a.yaml")
    with pytest.raises(ConfigError, match=f"1: nested deeper than {MAX_DEPTH} levels"):
        parse(opening * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1), "a.yaml")


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 60_000, "- " * 100_000, "? " * 100_000, "[{a: " * 50_000])
def test_a_deep_text_is_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match="nested deeper than"):
        parse(text, "a.yaml")
    assert time.process_time() - started < 1


# Any text at all, and texts of YAML's own marks, which reach further into the parser.
MARKS = st.lists(
    st.sampled_from([*"[]{}:,-?&*!|>'\"%@#~ \n\t.0aé", "\n  ", ": ", "- ", "1e5", "!!", "---", "\\u"]), max_size=60
)


def outcome(text: str) -> str:
    try:
        return f"a.yaml: {parse(text, 'a.yaml').value!r}"
    except ConfigError as error:
        return str(error)


@given(st.one_of(st.text(), MARKS.map("".join)))
def test_any_text_gives_a_value_or_a_config_error(text: str) -> None:
    assert outcome(text).startswith("a.yaml:")
    assert "\n" not in outcome(text)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "1e5",
        "no",
        "010",
        "09",
        ".5",
        "null",
        "~",
        "true",
        "2020-01-01",
        "0x1",
        "-.inf",
        "=",
        "<<",
        "a: b",
        " a",
        "a\n b ",
    ]
)
KEYS = WORDS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_dumped_is_parsed_to_the_same(value: Any) -> None:
    assert repr(parse(dump(value), "a.yaml").value) == repr(value)


def test_a_list_that_stands_twice_is_written_out_twice() -> None:
    shared = [1, 2]
    assert parse(dump({"a": shared, "b": shared}), "a.yaml").value == {"a": shared, "b": shared}
