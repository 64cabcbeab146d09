"""Cells that a spreadsheet would run, and what comes back from CSV."""

import csv
import io
import json
from typing import Any

import pytest
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st

from agents.predicting.output import csv_text
from utils.machine.text_tables import FORMULA, cell

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("x")', "\uff1d1", "-", "+", "-1-1", "+1+1", "=1e5", "-1\n", "'=1", "''-1"]  # fmt: skip
NO_FORMULAS = ["a=1", " =1", "'", "'a", "", "5", "-5", "+5", "-5.25", "1e5", "-1.5E-10", "{}", "\u2212 1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", NO_FORMULAS)
def test_what_is_no_formula_stays(text: str) -> None:
    assert cell(text) == text


@pytest.mark.parametrize(("value", "text"), [(-1.5, "-1.5"), (None, ""), (True, "true"), ([], "[]"), (1e-20, "1e-20")])
def test_values_that_are_no_text_are_json(value: Any, text: str) -> None:
    assert cell(value) == text


def test_labels_are_json() -> None:
    shares = {"=a": 0.25, "é": 0.75}
    assert json.loads(cell(shares)) == shares
    assert "é" in cell(shares)


def undone(value: str) -> str:
    """As docs/predicting.md tells a reader that is no spreadsheet."""
    is_escaped = value.startswith("'") and value.lstrip("'").startswith(FORMULA)
    return value[1:] if is_escaped else value


@ANY
@given(rows=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=4))
def test_cells_come_back(rows: list[list[str]]) -> None:
    text = csv_text([[cell(value) for value in row] for row in rows])
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert [[undone(value) for value in row] for row in found] == rows
    assert not any(value.startswith(("=", "@", "\t", "\r")) for row in found for value in row)
