"""A text with two sets of labels is a contradiction, named with both rows; a mere repeat is none. Equal ids are said."""

from pathlib import Path
from typing import Any

import pytest
from conftest import write_jsonl
from corpora import ANY, corpus_of
from hypothesis import given
from hypothesis import strategies as st

ROWS: list[dict[str, Any]] = [{"text": f"text {i}", "label": "ab"[i % 2], "id": str(i)} for i in range(40)]


def warnings(
    folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]] | None = None, **options: Any
) -> list[str]:
    """The warnings about contradictions and ids, without the folder."""
    files = {"test": str(write_jsonl(folder / "test.jsonl", test))} if test else {}
    corpus = corpus_of(write_jsonl(folder / "train.jsonl", train), fields=["text"], **files, **options)
    lines = corpus.scan().report["warnings"]
    return [line.replace(f"{folder}/", "") for line in lines if "earlier row" in line or "different labels" in line]


def row(text: str, label: Any) -> dict[str, Any]:
    return {"text": text, "label": label}


LABELS = "texts with different labels in different rows: "


def test_one_text_with_two_labels_names_both_rows(tmp_path: Path) -> None:
    more = [
        row("TEXT  3 ", "a"),
        row("text 3", "a"),
        row("text 4", "a"),
        row("text 5", "b"),
    ]  # 3 has b, 4 has a, 5 has b
    (line,) = warnings(tmp_path, [*ROWS, *more])
    assert line == LABELS + "1 (3 rows), such as train.jsonl:4 ('b') and train.jsonl:41 ('a')"
    assert warnings(tmp_path, [*ROWS, *more[2:]]) == []
    (line,) = warnings(tmp_path, [*ROWS, *more, row("text 0", "b")])
    assert line == LABELS + "2 (5 rows), such as train.jsonl:1 ('a') and train.jsonl:45 ('b')"


def test_across_files(tmp_path: Path) -> None:
    bad = {"text": "", "label": "a"}  # a row that is skipped is counted in the lines
    (line,) = warnings(tmp_path, [bad, *ROWS], [bad, row("text 90", "b"), row("text 7", "a")], on_bad_row="skip")
    assert line == LABELS + "1 (2 rows), such as train.jsonl:9 ('b') and test.jsonl:3 ('a')"


def test_sets_of_labels(tmp_path: Path) -> None:
    many = [item | {"label": [item["label"]]} for item in ROWS]
    more = [row("text 1", ["b"]), row("text 2", ["b", "a"]), row("text 3", [])]
    (line,) = warnings(tmp_path, [*many, *more], multi_label=True)
    assert line == LABELS + "2 (4 rows), such as train.jsonl:3 ('a') and train.jsonl:42 ('a', 'b')"
    (line,) = warnings(tmp_path, [*many, more[2]], multi_label=True)
    assert line == LABELS + "1 (2 rows), such as train.jsonl:4 ('b') and train.jsonl:41 (no label)"
    assert warnings(tmp_path, [*many, row("text 2", ["a"]), more[0]], multi_label=True) == []


def test_rows_beyond_the_limit_contradict_nobody(tmp_path: Path) -> None:
    contradictions = [row(f"text {i}", "ba"[i % 2]) for i in range(40)]
    (line,) = warnings(tmp_path, [*ROWS, *contradictions], limit=30)
    assert int(line.removeprefix(LABELS).split()[0]) <= 15


@ANY
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), max_size=12))
def test_contradictions_are_counted_as_by_hand(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, str]]
) -> None:
    found: dict[str, list[str]] = {}
    more = [row(f"more {number}", label) for number, label in pairs]
    for item in more:
        found.setdefault(item["text"], []).append(item["label"])
    odd = [labels for labels in found.values() if len(set(labels)) > 1]
    rows = [*[item | {"label": "abc"[i % 3]} for i, item in enumerate(ROWS)], *more]
    lines = warnings(tmp_path_factory.mktemp("x"), rows)
    start = f"{LABELS}{len(odd)} ({sum(map(len, odd))} rows), such as train.jsonl:"
    assert [line[: len(start)] for line in lines] == ([start] if odd else [])


def test_equal_ids_of_a_file_are_said_once(tmp_path: Path) -> None:
    test = [row(f"other {i}", "ab"[i % 2]) | {"id": str(i)} for i in range(9)]  # each file numbers its own rows
    assert warnings(tmp_path, ROWS, test, id="id") == []
    twice = [*ROWS, row("more", "a") | {"id": "7"}, row("and more", "b") | {"id": 7}]
    line = "rows with the id of an earlier row: 2 of 51, such as train.jsonl:41 with that of train.jsonl:8"
    assert warnings(tmp_path, twice, test, id="id") == [line]
    assert warnings(tmp_path, twice) == []
    missing = [item | {"id": value} for item, value in zip(ROWS, [None, "", " ", float("nan")] * 10, strict=True)]
    assert warnings(tmp_path, missing, id="id") == []  # named by their lines
