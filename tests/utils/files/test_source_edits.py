"""Edits of Python source: imports where ruff's isort rules want them, entries at the end of their table, the rest untouched."""

import subprocess
import sys
from pathlib import Path

import pytest

from utils.files.source_edits import keys_of, names_in, with_code_above, with_entry, with_import

SOURCE = '''\
"""A registry."""

import ast

import numpy as np
from torch import nn

from graphs.models import ENCODERS
from graphs.models.bert import (
    Bert,
    Part,
)
from graphs.models.bilstm import BiLSTM
from graphs.models.part2 import Part2

# Above
# the table.
TABLE: dict[str, type] = {
    "bert": Bert,
    "bilstm": BiLSTM,  # a comment
}
OTHER = {
    "two": 2,
}
'''
MODULES = [
    "aa",
    "bert_2",
    "bert2",
    "bert",
    "beru",
    "bi",
    "bilstm_x",
    "bilstm10",
    "bilstm9",
    "part1",
    "part2a",
    "part3",
    "part10",
]
MODULES += ["part_2", "q", "zz_9_a"]
ALL_NAMES = """\
from commands import (
    board,
    find_lr,
    part2,
    walk,
)
from commands import list as list_command
"""


def ruff_says(folder: Path, sources: list[str]) -> str:
    for i, source in enumerate(sources):
        (folder / f"source_{i}.py").write_text(source)
    ours = 'lint.isort.known-first-party=["graphs", "commands"]'
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--config",
        ours,
        "--no-cache",
        "--select",
        "I",
        ".",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


def test_an_import_is_where_ruff_wants_it(tmp_path: Path) -> None:
    lines = [f"from graphs.models.{module} import Name" for module in MODULES]
    sources = [with_import(SOURCE, f"graphs.models.{module}", "Name") for module in MODULES]
    for line, source in zip(lines, sources, strict=True):
        old, new = SOURCE.splitlines(), source.splitlines()
        assert line in new or "    Name," in new
        assert [each for each in new if each not in (line, "    Name,")] == old
    assert ruff_says(tmp_path, sources) == "All checks passed!"


def test_a_name_joins_the_import_of_its_module(tmp_path: Path) -> None:
    names = ["aa", "find", "find_lr2", "part1", "part10", "zz"]
    sources = [with_import(ALL_NAMES, "commands", name) for name in names]
    assert sources[0].splitlines()[1:3] == ["    aa,", "    board,"]
    assert ruff_says(tmp_path, sources) == "All checks passed!"


def test_an_entry_is_the_last_of_its_table() -> None:
    assert with_entry(SOURCE, "TABLE", '"new": New,') == SOURCE.replace("comment\n", 'comment\n    "new": New,\n')
    assert with_entry(SOURCE, "OTHER", '"three": 3,').endswith('    "two": 2,\n    "three": 3,\n}\n')


def test_code_stands_above_the_table_and_its_comment() -> None:
    found = with_code_above(SOURCE, "TABLE", "def f() -> None:\n    pass\n")
    assert found == SOURCE.replace("# Above\n", "def f() -> None:\n    pass\n\n\n# Above\n")


def test_other_line_separators_count_as_characters() -> None:
    """str.splitlines would take them for line ends, Python does not."""
    source = SOURCE.replace("A registry", "A\u2028registry\x1c")
    assert with_entry(source, "OTHER", "x").endswith('    "two": 2,\n    x\n}\n')


def test_what_a_module_holds() -> None:
    assert keys_of(SOURCE, "TABLE") == ["bert", "bilstm"]
    assert {"Bert", "Part", "np", "nn", "TABLE", "dict"} <= names_in(SOURCE)
    assert not {"numpy", "bilstm", "registry"} & names_in(SOURCE)


@pytest.mark.parametrize("table", ["MISSING", "ENCODERS"])
def test_a_table_that_is_not_there_is_an_error(table: str) -> None:
    with pytest.raises(ValueError, match=f"there is no table {table}"):
        with_entry(SOURCE, table, "x")


def test_a_package_without_imports_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no import from agents"):
        with_import(SOURCE, "agents.x", "X")
