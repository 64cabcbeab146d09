"""From files to three splits: which file serves which, and what cannot be trained on."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from corpora import corpus_of, tiny_corpus

from datasets.rows.records import Record
from utils.errors import DataError

TRAIN, VALID, TEST = (tiny_rows(150)[i : i + 50] for i in (0, 50, 100))
FILES: list[tuple[list[str], dict[str, int]]] = [
    ([], {"train": 40, "valid": 5, "test": 5}),
    (["valid"], {"train": 44, "valid": 50, "test": 6}),
    (["test"], {"train": 44, "valid": 6, "test": 50}),
    (["valid", "test"], {"train": 50, "valid": 50, "test": 50}),
]


@pytest.mark.parametrize(("given", "expected"), FILES)
def test_what_has_no_file_is_split_off_train(tmp_path: Path, given: list[str], expected: dict[str, int]) -> None:
    rows = {"train": TRAIN, "valid": VALID, "test": TEST}
    paths = {split: write_jsonl(tmp_path / f"{split}.jsonl", rows[split]) for split in rows}
    corpus = corpus_of(paths["train"], **{split: str(paths[split]) for split in given})
    scan = corpus.scan()
    for split in rows:
        assert abs(len(scan.rows[split]) - expected[split]) <= 2  # each of three labels is rounded
        origin = paths[split if split in given else "train"]
        assert {record.place.rpartition(":")[0] for record in corpus.records(split, scan.rows[split])} == {str(origin)}
    assert sum(len(numbers) for numbers in scan.rows.values()) == 50 * (1 + len(given))


def test_every_row_is_in_one_split(tmp_path: Path) -> None:
    scan = tiny_corpus(tmp_path).scan()
    np.testing.assert_array_equal(np.sort(np.concatenate(list(scan.rows.values()))), np.arange(120))


def test_the_split_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    rows = tiny_rows() + [row | {"label": "chess"} for row in tiny_rows(30)]  # some texts with two labels
    splits = []
    for order in (rows, rows[::-1]):
        corpus = tiny_corpus(tmp_path, order)
        numbers = corpus.scan().rows
        splits.append({s: sorted((r.texts, r.labels) for r in corpus.records(s, numbers[s])) for s in numbers})
    assert splits[0] == splits[1]


def test_texts_of_evaluation_that_are_also_in_train_are_counted(tmp_path: Path) -> None:
    copied = [row | {"text": f"  {row['text'].upper()}"} for row in TRAIN[:7]]
    train = write_jsonl(tmp_path / "train.jsonl", TRAIN)
    test = write_jsonl(tmp_path / "test.jsonl", [*TEST, *copied])
    overlap = corpus_of(train, valid=str(write_jsonl(tmp_path / "valid.jsonl", VALID)), test=str(test)).scan().report
    assert overlap["overlap"] == {"valid": 0, "test": 7}


def test_joined_fields_are_one_text(tmp_path: Path) -> None:
    record = Record("file:1", "1", ("a title", "a text"), ("x",))
    for is_joined, expected in ((False, record.texts), (True, ("a title a text",))):
        assert tiny_corpus(tmp_path, join_fields=is_joined).encoder_texts(record) == expected


ONE = {"title": "t", "text": "text", "label": "x"}
REFUSED: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    ("no row", [], {}, "has no rows left for train; 0 rows were read"),
    ("too few rows", [ONE, ONE | {"text": "b", "label": "y"}], {}, "has no rows left for valid; 2 rows were read"),
    ("ids as labels", [ONE | {"text": f"text {i}", "label": str(i)} for i in range(30)], {},
     "has no rows left for valid; 30 rows were read, with 30 labels: is data.label the right column?"),
    ("only bad rows", [ONE | {"text": None, "title": None}] * 3, {"on_bad_row": "skip"}, "(3 no text skipped)"),
    ("one label", [ONE | {"text": f"text {i}"} for i in range(30)], {}, "has only one label ('x'); two are needed"),
    ("a wrong name", [ONE], {"fields": ["title", "body"]}, "there is no column 'body'; there are 'title', 'text', 'label'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "options", "message"), REFUSED)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as error:
        tiny_corpus(tmp_path, rows, **options).scan()
    assert str(error.value).startswith(f"{tmp_path}/rows.jsonl")
    assert message in str(error.value)


def test_a_label_that_no_training_row_has_is_refused(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", TRAIN)
    test = write_jsonl(tmp_path / "test.jsonl", [*TEST, ONE | {"label": "Chess\x1b[2J"}])
    with pytest.raises(DataError, match=r"test holds the label 'Chess\\x1b\[2J', which no training row has") as error:
        corpus_of(train, test=str(test)).scan()
    assert "known: 'chess', 'cooking', 'sailing'" in str(error.value)


WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"fields": []}, "fields must name"),
    ({"fields": ["text", "text"]}, "each once"),
    ({"split": [0.8, 0.1]}, "three fractions"),
    ({"split": [0.8, 0.1, 0.2]}, "add up to 1"),
    ({"split": [1.1, -0.1, 0.0]}, "three fractions"),
    ({"split": [0.0, 0.5, 0.5]}, "three fractions"),
    ({"split": [float("nan"), 0.1, 0.1]}, "three fractions"),
    ({"limit": 0}, "limit must be at least 1"),
    ({"train_limit": 0}, "train_limit must be at least 1"),
    ({"max_length": 0}, "max_length must be at least 1"),
    ({"num_workers": 0}, "num_workers must be at least 1"),
    ({"split_seed": -1}, "split_seed"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_wrong_options_are_refused_before_a_file_is_read(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus_of(tmp_path / "none.jsonl", **options)


def test_training_sets_of_a_train_limit_are_nested_and_leave_the_other_splits_alone(tmp_path: Path) -> None:
    """One file that is split, a test file beside it, and rows of several labels, whose own limit is not nested."""
    several = [row | {"label": "|".join({row["label"], "cooking"})} for row in tiny_rows()]
    test = str(write_jsonl(tmp_path / "test.jsonl", TEST))
    cases: list[dict[str, Any]] = [{}, {"test": test}, {"rows": several, "multi_label": True}, {"limit": 60}]
    for options in cases:
        scans = {}
        for size in (5, 20, 40, None):
            scans[size] = tiny_corpus(tmp_path, **options, train_limit=size).scan()
            report = scans[size].report["train"]
            assert size is None or len(scans[size].rows["train"]) == size == report["used"]
            assert report["read"] == report["used"] + sum(report["skipped"].values())
        sets = [set(scan.rows["train"].tolist()) for scan in scans.values()]
        assert all(small < large for small, large in itertools.pairwise(sets))
        for scan in scans.values():
            assert scan.labels == scans[None].labels
            for split in ("valid", "test"):
                np.testing.assert_array_equal(scan.rows[split], scans[None].rows[split])
        assert scans[20].report["train"]["skipped"]["beyond data.train_limit"] == len(sets[3]) - 20
