"""`LABEL TEXT` and fastText's `__label__x TEXT`, from training to prediction; and plain text, which has no labels."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_rows
from corpora import reader_of
from refusals import refusal, trained

from agents import load
from datasets.formats.readers import FORMATS
from datasets.formats.rows import BLANK, Layout
from main import main
from utils.errors import DataError

ROWS = [{"text": row["text"], "label": row["label"]} for row in tiny_rows(120)]
FORMATS_OF_LINES: dict[str, Callable[[dict[str, str]], str]] = {
    "LABEL TEXT": lambda row: f"{row['label']} {row['text']}\n",
    "LABEL<tab>TEXT": lambda row: f"{row['label']}\t{row['text']}\n",
    "fastText": lambda row: f"__label__{row['label']} {row['text']}\n",
}


def read(path: Path, text: str, **layout: Any) -> list[Any]:
    path.write_text(text, encoding="utf-8")
    return [
        row.problem or (row.values.get("label"), row.values["text"])
        for row in FORMATS["labelled_lines"](path, Layout(**layout))
    ]


LINES: dict[str, tuple[str, list[Any]]] = {
    "SST": ("1 a fine film\n0 dull\n", [("1", "a fine film"), ("0", "dull")]),
    "TREC": ("DESC:manner How did  it end ?\r\n", [("DESC:manner", "How did  it end ?")]),
    "tabs and spaces": (" x \t a\tb \n", [("x", "a\tb ")]),
    "a label of two words": ("high tech\ta b\nsport\tc\td\n", [("high tech", "a b"), ("sport", "c\td")]),
    "a line without the tab": ("high tech\ta\nsport b\n", [("high tech", "a"), "has no tab between its label and its text, unlike the first line"]),
    "a tab in a later text": ("x a\nx b\tc\n", [("x", "a"), ("x", "b\tc")]),
    "a space of Unicode is none": ("x\u00a0y a\n", [("x\u00a0y", "a")]),
    "no text, and blank": ("x\n\nx a\n", [("x", ""), BLANK, ("x", "a")]),
    "fastText": ("__label__x a b\n__label__y c\n", [("x", "a b"), ("y", "c")]),
    "several labels": ("__label__x __label__y a  b\n", [(["x", "y"], "a  b")]),
    "labels at the end": ("__label__x a\nb __label__y\n", [("x", "a"), ("y", "b")]),
    "fastText without a label": ("__label__x a\nb c\n", [("x", "a"), ("", "b c")]),
    "a label inside a word": ("__label__x a__label__b\n", [("x", "a__label__b")]),
    "two kinds": ("x a\n__label__x a\n", [("x", "a"), "begins with __label__, unlike the first line"]),
    "byte order mark": ("\ufeffx a\n", [("x", "a")]),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_a_line_is_its_label_and_its_text(tmp_path: Path, case: str) -> None:
    text, expected = LINES[case]
    assert read(tmp_path / "x.txt", text) == expected


def test_a_file_to_predict_may_have_labels_or_none(tmp_path: Path) -> None:
    def of(text: str) -> list[Any]:
        return [
            row if isinstance(row, str) else row[1]
            for row in read(tmp_path / "x.txt", text, is_label={"good", "bad"}.__contains__)
        ]

    assert of("good one\nbad two\n") == ["one", "two"]
    assert of("good one\tand two\nbad two\n") == ["one\tand two", "two"], "no label ends at its tab"
    assert of("good\tone two\nbad\ttwo\n") == ["one two", "two"]
    assert of("the one\ngood old two\n") == ["the one", "good old two"]
    assert of("__label__new one\ntwo\n") == ["one", "two"]
    with pytest.raises(
        DataError, match=r"x.txt:2: 'the' is not a label of the run; if no line has one, write --format text"
    ):
        of("good old one\nthe two\n")


def test_several_labels_need_multi_label(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("__label__x __label__y a\n__label__x b\nc\n")
    rows = list(FORMATS["labelled_lines"](tmp_path / "x.txt", Layout()))
    records = list(reader_of(["text"], multi_label=True).read(rows))
    assert [record.labels for record in records if record] == [("x", "y"), ("x",), ()]
    with pytest.raises(DataError, match=r"x.txt:1: .*multi_label"):
        list(reader_of(["text"], label="label").read(rows))


@pytest.mark.parametrize("ending", ["txt", "label.gz"])
@pytest.mark.parametrize("kind", FORMATS_OF_LINES)
def test_the_life_of_a_run(workplace: Path, capsys: pytest.CaptureFixture[str], kind: str, ending: str) -> None:
    def write(name: str, lines: list[str]) -> str:
        data = "".join(lines).encode()
        (workplace / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return name

    lines = [FORMATS_OF_LINES[kind](row) for row in ROWS]
    name = write(f"x.{ending}", lines)
    report = trained(capsys, f"data.train={name}", "data.format=labelled_lines", "data.fields=[text]")
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 120
    assert main(["test", "experiments/rows", "--data", write(f"other.{ending}", lines[:30]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == {"read": 30, "used": 30, "skipped": {}}
    expected = [line["predicted"] for line in load("experiments/rows").predict([row["text"] for row in ROWS[:30]])]
    plain = write(f"plain.{ending}", [f"{row['text']}\n" for row in ROWS[:30]])
    for given in (f"other.{ending}", plain):
        assert main(["predict", "experiments/rows", "--input", given]) == 0
        lines_out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["text"] for line in lines_out] == [row["text"] for row in ROWS[:30]]
        assert [line["predicted"] for line in lines_out] == expected


def test_a_run_of_several_labels(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"__label__{row['label']} {'__label__odd ' * (i % 2)}{row['text']}\n" for i, row in enumerate(ROWS)]
    (workplace / "x.txt").write_text("".join(lines))
    options = ["data.train=x.txt", "data.format=labelled_lines", "data.fields=[text]", "data.multi_label=true"]
    trained(capsys, *options, "loss.name=binary_cross_entropy", "train.monitor=+micro_f1")
    assert json.loads(Path("experiments/rows/labels.json").read_text()) == ["chess", "cooking", "odd", "sailing"]


def test_plain_text_says_how_labels_may_be_given(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "x.txt").write_text("".join(FORMATS_OF_LINES["LABEL TEXT"](row) for row in ROWS))
    found = refusal(capsys, "data.train=x.txt", "data.fields=[text]")
    assert found.startswith(
        "x.txt:1: there is no column 'label'; plain text has no labels: if each line begins with its label, write"
    )
    for word in ("labelled_lines", "file_per_class"):
        assert f"data.format: {word}" in found


def test_a_refusal_has_three_reasons_and_a_count(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "x.csv").write_text("1 a film\n" + "".join(",".join("ab" * (i % 52)) + "\n" for i in range(1, 520)))
    found = refusal(capsys, "data.train=x.csv", "data.fields=['1 a film']", "data.on_bad_row=skip")
    assert len(found) < 300
    assert found.count(" columns instead of 1") <= 3
    assert " other reasons" in found
