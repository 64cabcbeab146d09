"""JSON of any depth is a value or a ValueError."""

import json

import pytest

from utils.files.strict_json import parse


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        "[" * 10**5 + "]" * 10**5,
        '{"a":' * 10**5,
        b"[" * 10**5,
        b"\xff",
        "",
        "{",
        "1 2",
        '[{"a": 1, "b": 2, "a": 1}]',
    ],
)
def test_what_is_no_json_or_too_deep_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize("value", [None, 1.5, "é", {"a": [1, {"b": []}]}, [[[[]]]]])
def test_a_value_is_what_the_library_reads(value: object) -> None:
    assert parse(json.dumps(value)) == parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_writes_is_taken_unless_it_comes_from_others(value: str) -> None:
    assert str(parse(f"[{value}]")[0]) == str(float(value))
    with pytest.raises(ValueError, match=f"{value} is no JSON"):
        parse(f"[{value}]", allow_nan=False)
