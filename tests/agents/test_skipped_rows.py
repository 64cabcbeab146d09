"""Rows that cannot be used, when a trained run predicts or is tested: refused, or answered by a line that says why."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from main import main
from utils.errors import DataError

DATA = """\
  on_bad_row: skip
  id: uid
"""
GOOD = [{"uid": f"u{i}", "text": row["text"], "label": row["label"]} for i, row in enumerate(tiny_rows(120))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `x`, which has ids and was trained with `data.on_bad_row: skip`."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", [*GOOD, {"uid": "bad", "text": " ", "label": "chess"}])
        config = TINY_CONFIG.replace("  fields: [title, text]\n", DATA).replace("num_epochs: 2", "num_epochs: 1")
        (folder / "x.yaml").write_text(config)
        assert main(["x.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[Any], str]:
    """The exit code, the lines of JSON, and the last line on stderr."""
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()], (err.splitlines() or [""])[-1]


# Content; for each row its id and what is wrong with it, if anything; the rows of which are blank lines.
FILES: dict[str, tuple[str, list[tuple[str, str | None]]]] = {
    "x.csv": (
        'uid,text\na,boil the rice\nb,\n\nc,too,many\n,push a pawn\n" ",tie the rope\n',
        [("a", None), ("b", "no text"), ("x.csv:4", "blank line"), ("x.csv:5", "3 columns instead of 2"),
         ("", None), (" ", None)],
    ),
    "x.jsonl": (
        '{"uid": 7, "text": "boil the rice"}\n{"uid": 8, "text": 8}\n{\n[]\n\n{"uid": "\\ud800", "text": " "}\n'
        '{"text": "push a pawn"}\n{"uid": 9, "text": "\\ud800"}\n',
        [("7", None), ("8", "'text' is int, not text"), ("x.jsonl:3", "not JSON"), ("x.jsonl:4", "not a JSON object"),
         ("x.jsonl:5", "blank line"), ("\\ud800", "no text"), ("x.jsonl:7", None), ("9", "half of a surrogate pair")],
    ),
    "x.txt": (
        "boil the rice\n\n   \npush a pawn\n",
        [("x.txt:1", None), ("x.txt:2", "blank line"), ("x.txt:3", "blank line"), ("x.txt:4", None)],
    ),
    "only_bad.jsonl": (
        '{"uid": 1, "text": ""}\n{"uid": 2, "text": "\\t"}\n',
        [("1", "no text"), ("2", "no text")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_row_has_its_line(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    content, expected = FILES[name]
    (folder / name).write_text(content)
    code, lines, said = called(capsys, "predict", "experiments/x", "--input", name, "--on-bad-row", "skip")
    assert code == 0, said
    if name != "x.csv":  # its blank ids are the business of the reader of records
        assert [line["id"] for line in lines] == [id for id, _ in expected]
    for line, (id, problem) in zip(lines, expected, strict=True):
        assert (line["predicted"] is None) == (problem is not None)
        assert line.get("problem", "").startswith(problem or "")
        assert set(line) == ({"id", "predicted", "problem"} if problem else {"id", "text", "predicted", "probabilities", "truncated"}), id  # fmt: skip
    num_bad = sum(problem is not None for _, problem in expected)
    assert said.startswith(f"{len(expected)} rows read = {len(expected) - num_bad} predicted + {num_bad} skipped")
    alone = load("experiments/x").predict([line["text"] for line in lines if "text" in line])
    assert [line["predicted"] for line in alone] == [line["predicted"] for line in lines if "text" in line]


@pytest.mark.parametrize("name", FILES)
def test_unless_told_so_predict_skips_no_row(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever the run did with its bad rows. A blank line is no row, unless every row is to have its line."""
    content, expected = FILES[name]
    (folder / name).write_text(content)
    problems = [problem for _, problem in expected if problem not in (None, "blank line")]
    for option in ([], ["--on-bad-row", "error"]):
        code, lines, said = called(capsys, "predict", "experiments/x", "--input", name, *option)
        if problems:
            assert code == 3
            assert str(problems[0]) in said
            assert said.endswith("or skip such rows with --on-bad-row skip")
        else:
            assert (code, len(lines)) == (0, 2)
            assert said == "4 rows read = 2 predicted + 2 skipped (2 blank line)"


def test_a_missing_column_is_said_whatever_is_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "x.jsonl", [{"texts": "a"}, {"texts": "b"}])
    words = ["--input", "x.jsonl", "--output", "x.out", "--on-bad-row", "skip"]
    code, lines, said = called(capsys, "predict", "experiments/x", *words)
    assert (code, lines) == (3, [])
    assert said.startswith("x.jsonl:1: there is no column 'text'; did you mean")
    assert not Path("x.out").exists()


def test_python_and_one_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = load("experiments/x")
    with pytest.raises(DataError, match=r"^1: no text"):
        predictor.predict(["boil the rice", " "])
    lines = predictor.predict(["boil the rice", " ", "push a pawn"], on_bad_row="skip")
    assert lines[1] == {"id": "1", "predicted": None, "problem": "no text"}
    assert [lines[0], lines[2] | {"id": "1"}] == predictor.predict(["boil the rice", "push a pawn"])
    with pytest.raises(ValueError, match="on_bad_row must be error or skip, got 'ignore'"):
        predictor.predict(["a"], on_bad_row="ignore")
    assert called(capsys, "predict", "experiments/x", "--text", "")[0] == 3
    code, found, _ = called(capsys, "predict", "experiments/x", "--text", "", "--on-bad-row", "skip")
    assert (code, found) == (0, [{"id": "0", "predicted": None, "problem": "no text"}])


def test_a_test_skips_as_its_run_did_or_as_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "x.jsonl", [*GOOD[:9], {"uid": "b", "text": "", "label": "chess"}])
    words = ["test", "experiments/x", "--data", "x.jsonl", "--json"]
    for option in ([], ["--on-bad-row", "skip"]):
        code, (result,), _ = called(capsys, *words, *option)
        assert (code, result["data"]) == (0, {"read": 10, "used": 9, "skipped": {"no text": 1}})
    code, lines, said = called(capsys, *words, "--on-bad-row", "error")
    assert (code, lines) == (3, [])
    assert said.startswith("x.jsonl:10: no text")
    assert said.endswith("or skip such rows with --on-bad-row skip")
    code, lines, said = called(capsys, "test", "experiments/x", "--on-bad-row", "skip")
    assert (code, lines) == (2, [])
    assert "go with --data" in said


@pytest.mark.parametrize(
    ("value", "problem"),
    [(None, "no text"), (float("nan"), "'text' is float, not text"), (5, "'text' is int, not text"), (b"a", "'text' is bytes, not text")],
)  # fmt: skip
def test_what_is_no_text_in_a_list_of_python_is_a_bad_row(folder: Path, value: Any, problem: str) -> None:
    """As a column of pandas has it, which marks missing texts by None or NaN."""
    predictor = load("experiments/x")
    with pytest.raises(DataError, match=rf"^1: {problem}"):
        predictor.predict(["boil the rice", value])
    assert predictor.predict([value, {"text": value}], on_bad_row="skip") == [
        {"id": id, "predicted": None, "problem": problem} for id in "01"
    ]


@pytest.mark.parametrize("texts", [[{}], [{"body": "boil"}], [{}, "boil the rice"], [{}, {"body": "x"}]])
def test_a_text_without_the_column_is_skipped_in_any_company(folder: Path, texts: list[Any]) -> None:
    predictor = load("experiments/x")
    lines = predictor.predict(texts, on_bad_row="skip")
    assert [line.get("problem") for line in lines] == [
        None if isinstance(t, str) else "no text in 'text'" for t in texts
    ]
    with pytest.raises(DataError, match=r"^0: there is no column 'text'; there are (none|'body')"):
        predictor.predict(texts)


@pytest.mark.parametrize("texts", ["boil", {"text": "boil the rice"}])
def test_one_text_in_place_of_a_list_is_refused(folder: Path, texts: Any) -> None:
    with pytest.raises(TypeError, match=r"texts must be a list, got one (str|dict); write \[text\]"):
        load("experiments/x").predict(texts)


# Ids.


@pytest.mark.parametrize("words", [["--text", "boil the rice"], ["--input", "x.jsonl"]])
def test_texts_of_a_run_with_ids_need_none(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    write_jsonl(folder / "x.jsonl", [{"text": "boil the rice"}])
    code, (line,), said = called(capsys, "predict", "experiments/x", *words)
    assert code == 0, said
    assert line["id"] == ("0" if "--text" in words else "x.jsonl:1")


def test_ids_that_are_given_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = load("experiments/x").predict(["boil the rice", {"text": "push a pawn", "uid": "p1"}, {"text": "tie"}])
    assert [line["id"] for line in lines] == ["0", "p1", "2"]
    write_jsonl(folder / "x.jsonl", GOOD[:3])
    assert [line["id"] for line in called(capsys, "predict", "experiments/x", "--input", "x.jsonl")[1]] == [
        "u0",
        "u1",
        "u2",
    ]
    write_jsonl(folder / "y.jsonl", [{"text": row["text"], "label": row["label"]} for row in GOOD[:9]])
    assert called(capsys, "test", "experiments/x", "--data", "y.jsonl", "--json")[0] == 0
    (folder / "no_id.yaml").write_text((folder / "x.yaml").read_text().replace("id: uid", "id: uuid"))
    code, _, said = called(capsys, "no_id.yaml")
    assert (code, "there is no column 'uuid'" in said) == (3, True), (
        "training still wants the column that it is told of"
    )
