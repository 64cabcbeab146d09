"""Labels, sets of rows and paths of the failure catalogue (section D, 53 and 60 to 87): refused, accepted, or accepted and said."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_rows, write_jsonl
from refusals import refusal

from main import main

Rows = list[dict[str, Any]]
Prepared = Callable[[Path], list[str]]
ROWS: Rows = list(tiny_rows(60))
ONE: dict[str, Any] = {"title": "a", "text": "b", "label": "chess"}


def rows(*more: dict[str, Any], train: Rows = ROWS, **files: Rows) -> Prepared:
    """A case of a training file with some more rows, and other files by their split."""

    def prepare(folder: Path) -> list[str]:
        sets = {"train": [*train, *more], **files}
        return [f"data.{split}={write_jsonl(folder / f'{split}.jsonl', found).name}" for split, found in sets.items()]

    return prepare


def named(*words: str) -> Prepared:
    return lambda folder: list(words)


def made(make: Callable[[Path], object], *words: str) -> Prepared:
    """A case of a file that `make` makes in the working folder."""

    def prepare(folder: Path) -> list[str]:
        make(folder)
        return list(words)

    return prepare


def relabelled(*labels: Any) -> Rows:
    return [row | {"label": labels[i % len(labels)]} for i, row in enumerate(ROWS)]


def unreadable(folder: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything; tests/reliability/test_unwritable.py becomes another user")
    shutil.copy("tiny.jsonl", "x.jsonl")
    (folder / "x.jsonl").chmod(0)


def loop(folder: Path) -> None:
    (folder / "a.csv").symlink_to("b.csv")
    (folder / "b.csv").symlink_to("a.csv")


REFUSED: dict[str, tuple[Prepared, list[str]]] = {
    "D61 one class only": (rows(train=relabelled("yes")), ["train.jsonl: the column 'label' has only one label ('yes'); two are needed"]),
    "D62 a label of the test set alone": (rows(test=[ONE | {"label": "go"}]), ["test.jsonl: test holds the label 'go', which no training row has; known: 'chess', 'cooking', 'sailing'"]),
    "D64 labels that differ by case": (rows(ONE | {"label": "Chess"}), ["train.jsonl: labels in 'label' that differ only by case, space, composition, width, invisible marks or a final .0: 'Chess' and 'chess'; use one spelling for each"]),
    "D64 labels that differ by space": (rows(ONE | {"label": "chess "}, ONE | {"label": "sai ling"}), ["'chess' and 'chess '; use one spelling"]),
    "D64 labels that differ by composition": (rows(ONE | {"label": "caf\u00e9"}, ONE | {"label": "cafe\u0301"}), ["'cafe\u0301' and 'caf\u00e9'"]),
    "D64 a test set's labels that differ by case": (rows(test=[ONE | {"label": "CHESS"}]), ["'CHESS' and 'chess'"]),
    "D64 labels that differ by an invisible mark": (rows(ONE | {"label": "chess\u200f"}), ["'chess' and 'chess\\u200f'"]),
    "D64 labels that differ by a soft hyphen": (rows(ONE | {"label": "che\u00adss"}), ["'chess' and 'che\\xadss'"]),
    "D64 labels that differ by width": (rows(ONE | {"label": "\uff43hess"}), ["'chess' and '\uff43hess'"]),
    "D65 labels as whole numbers and with two digits": (rows(train=relabelled(1, 2, "1.00")), ["'1' and '1.00'; use one spelling"]),
    "D65 labels as whole numbers and as floats": (rows(train=relabelled(1, 2, 1.0)), ["a final .0: '1' and '1.0'; use one spelling for each"]),
    "D67 more labels than can be told apart": (rows(train=[ONE | {"label": str(i)} for i in range(5_001)]), ["train.jsonl: the column 'label' holds 5,001 labels, '0' to '999'; at most 5,000", "is data.label the right column?"]),
    "D68 classes of one row, none left for validation": (rows(train=[ONE | {"label": str(i), "text": f"{i}"} for i in range(3)]), ["train.jsonl: has no rows left for valid; 3 rows were read"]),
    "D69 an empty file": (rows(train=[]), ["train.jsonl: has no rows left for train; 0 rows were read"]),
    "D69 an empty test file": (rows(test=[]), ["test.jsonl: has no rows left for test"]),
    "D60 one text in all rows": (rows(train=[ONE | {"label": "ab"[i % 2]} for i in range(30)]), ["train.jsonl: has no rows left for"]),  # equal texts stay together
    "D78 no such file": (named("data.train=gone.csv"), ["gone.csv: no such file or folder (paths are relative to"]),
    "D79 a folder for a file": (made(lambda f: (f / "x").mkdir(), "data.train=x", "data.format=csv"), ["x: is a folder; format csv does not read that"]),
    "D79 a folder without classes": (made(lambda f: (f / "x").mkdir(), "data.train=x"), ["x: holds no file in a folder per class (expected x/LABEL/NAME.txt)"]),
    "D80 a file for a folder": (named("data.train=tiny.jsonl", "data.format=folder"), ["tiny.jsonl: is a file; format folder does not read that"]),
    "D81 not readable": (made(unreadable, "data.train=x.jsonl"), ["x.jsonl: cannot be read: Permission denied"]),
    "D82 a broken link": (made(lambda f: (f / "x.csv").symlink_to("gone"), "data.train=x.csv"), ["x.csv: is a broken link"]),
    "D83 a loop of links": (made(loop, "data.train=a.csv"), ["a.csv: is a broken link"]),
    "D84 a pipe to train on": (made(lambda f: os.mkfifo(f / "x.csv"), "data.train=x.csv"), ["x.csv: is not a regular file, and training reads its files more than once"]),
    "D86 a pattern": (named("data.train='*.csv'"), ["*.csv: no such file or folder"]),  # names are taken as they are
    "D123 no word that is frequent enough": (named("tokenizer.min_count=500"), ["tokenizer.min_count: 500 leaves no word of the training texts; lower it"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_set_is_refused_with_its_file(workplace: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    prepare, expected = REFUSED[case]
    found = refusal(capsys, *prepare(workplace))
    for words in expected:
        assert words in found


def folders(folder: Path) -> None:
    for i, row in enumerate(ROWS):
        path = folder / "classes" / row["label"] / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"])


def strangely_named(folder: Path) -> None:
    folders(folder)
    for path in (folder / "classes").rglob("*.txt"):
        path.rename(os.fsdecode(os.fsencode(path).replace(b".txt", b"\xff.txt")))


PATH_IN_TEXT = [row | {"text": f"corpus/{row['label']}/{i}.txt\n{row['text']}"} for i, row in enumerate(ROWS)]

# name: (what to train on, the warnings: none, or the beginning of each)
ACCEPTED: dict[str, tuple[Prepared, list[str]]] = {
    "D53 only unknown words": (rows(test=[ONE | {"title": "", "text": "zzz yyy"}, ONE]), ["test has no row of 2 of the 3 labels ('cooking', 'sailing')", "1 of 2 texts of test hold no token of the vocabulary", "80% of the tokens of test are not in the vocabulary (more than 30%); tokenizer: {name: wordpiece}"]),
    "D60 every text many times": (rows(train=ROWS * 3), ["train has 36 different texts in 108 rows", "valid has", "test has"]),
    "D65 a label as number and as text": (rows(train=relabelled(1, "2", "1", 2)), []),  # unlike the catalogue: both are the label "1"
    "D65 labels as numbers in train and as text in test": (rows(train=relabelled(1, 2), test=[ONE | {"text": label, "label": label} for label in "12"]), []),
    "D66 gaps in the numbers of labels": (rows(train=relabelled(3, 70)), []),  # labels are names
    "D68 a class of one row": (rows(ONE | {"label": "go", "text": "once"}), ["valid has no row of 1 of the 4 labels ('go'): not measured, and each counts in macro F1 only where it is predicted, as 0", "test has no row of 1 of the 4 labels ('go')"]),
    "D70 the test set is the training set": (rows(valid=ROWS[:20], test=ROWS), ["20 of 20 texts of valid are also in train", "test holds the same texts as train", "20 of 60 texts of test are also in valid"]),
    "D70 some test texts are in train": (rows(test=[*tiny_rows(70)[60:], *ROWS[:3]]), ["3 of 13 texts of test are also in train: they inflate its score"]),
    "D71 fewer rows than a batch": (lambda f: [*rows()(f), "train.batch_size=1000"], []),
    "D77 the same id twice": (lambda f: [*rows(train=[row | {"id": 1} for row in ROWS])(f), "data.id=id"], ["rows with the id of an earlier row: 59 of 60, such as train.jsonl:2 with that of train.jsonl:1"]),
    "one text with two labels": (rows(ROWS[0] | {"label": "chess"}), ["texts with different labels in different rows: 1 (2 rows), such as train.jsonl:1 ('cooking') and train.jsonl:61 ('chess')"]),
    "D87 a name with a space and an accent": (made(lambda f: shutil.copy("tiny.jsonl", f / "with space é.jsonl"), "data.train=with space é.jsonl"), []),
    "a label in its text's path": (rows(train=PATH_IN_TEXT), ["100% of the texts in 'text' contain their label as a word"]),
    "a label in the id that is read": (made(folders, "data.train=classes", "data.fields=[id, text]"), ["100% of the texts in 'id' contain their label"]),
    "a copy of the label": (rows(train=[row | {"title": row["label"]} for row in ROWS]), ["100% of the texts in 'title' contain their label"]),
    "a folder per class": (made(folders, "data.train=classes", "data.fields=[text]"), []),
    "D87 a folder with names that are no UTF-8": (made(strangely_named, "data.train=classes", "data.fields=[text]"), []),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_set_is_accepted_and_what_is_odd_is_said(
    workplace: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    prepare, expected = ACCEPTED[case]
    assert main(["tiny.yaml", "name=odd", "train.num_epochs=1", *prepare(workplace)]) == 0
    lines = [line.removeprefix("warning: ") for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    assert [line[: len(words)] for line, words in zip(lines, expected, strict=True)] == expected
    data = json.loads((workplace / "experiments" / "odd" / "report.json").read_text())["data"]
    assert data["warnings"] == lines
    for split in ("train", "valid", "test"):
        assert data[split]["read"] == data[split]["used"] + sum(data[split]["skipped"].values())
