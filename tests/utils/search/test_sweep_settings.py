"""A sweep's file: what is read from it, and the one line that each mistake gets."""

from pathlib import Path

import pytest

from utils.errors import ConfigError
from utils.search.settings import Space, read_settings


def read(folder: Path, text: str) -> dict[str, Space]:
    (folder / "s.yaml").write_text(f"config: c.yaml\n{text}\n")
    return read_settings(folder / "s.yaml")[2]


def test_sections_may_be_nested_or_dotted(tmp_path: Path) -> None:
    space = "{optimizer.lr: {log: [1e-4, 1]}, model: {name: {choice: [a, b]}, hidden_size: {log_int: [2, 64]}}}"
    assert read(tmp_path, f"trials: 3\nspace: {space}") == {
        "optimizer.lr": Space("log", [1e-4, 1.0]),
        "model.name": Space("choice", ["a", "b"]),
        "model.hidden_size": Space("log_int", [2, 64]),
    }


def test_the_file_names_the_sweep(tmp_path: Path) -> None:
    read(tmp_path, "trials: 3\nspace: {a: {int: [1, 2]}}")
    assert read_settings(tmp_path / "s.yaml")[1].name == "s"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("trials: 3\nspac: {a: {int: [1, 2]}}", 3, "did you mean space?"),
        ("trials: 3\nspace: {}", 3, "at least one option"),
        ("trials: 3\nspace: {a: 3}", 3, "must be one of choice, int"),
        ("trials: 3\nspace:\n  a: {int: [1, 2.5]}", 4, "two whole numbers"),
        ("trials: 3\nspace:\n  a: {int: [1, true]}", 4, "two whole numbers"),
        ("trials: 3\nspace:\n  a: {float: [2, 1]}", 4, "[least, greatest]"),
        ("trials: 3\nspace:\n  a: {log: [0, 1]}", 4, "above 0"),
        ("trials: 3\nspace:\n  a: {choice: []}", 4, "must be a list"),
        ("trials: 3\nspace:\n  a: {int: [1, 2], float: [1, 2]}", 4, "must be one of choice, int"),
        ("trials: 0\nspace: {a: {int: [1, 2]}}", 2, "between 1 and"),
        ("space: {a: {int: [1, 2]}}", 1, "trials is missing"),
        ("trials: 3\nsampler: gird\nspace: {a: {int: [1, 2]}}", 3, "one of tpe, random, grid"),
        ("sampler: grid\nspace: {a: {int: [1, 2]}}", 3, "needs choice"),
    ],
)
def test_mistakes_are_named_where_they_are(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert str(error.value).startswith((f"{tmp_path / 's.yaml'}:{line}: ", f"{tmp_path / 's.yaml'}: "))
