"""Every row is used or counted with the reason; under `error` the first bad one is named."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from conftest import write_jsonl
from corpora import ANY, reader_of, tiny_corpus
from hypothesis import given
from hypothesis import strategies as st

from datasets.formats.readers import FORMATS
from datasets.formats.rows import BLANK, Layout, Row
from datasets.rows.records import RecordReader, describe_unused
from utils.errors import DataError

GOOD = {"title": "a title", "text": "some text", "label": "x"}


def reader(**options: Any) -> RecordReader:
    return reader_of(["title", "text"], **options)


def rows(*values: dict[str, Any]) -> list[Row]:
    return [Row(f"f:{number}", row) for number, row in enumerate(values, 1)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"title": None, "text": None}, "no text"),
    ({"text": 3}, "'text' is int, not text"),
    ({"text": ["a"]}, "'text' is list, not text"),
    ({"text": float("nan")}, "'text' is float, not text"),
    ({"title": "", "text": " \t\n"}, "no text"),
    ({"text": "\ud800"}, "half of a surrogate pair"),
    ({"label": "\ud800"}, "half of a surrogate pair"),
    ({"label": None}, "no label in 'label'"),
    ({"label": ""}, "no label in 'label'"),
    ({"label": "  "}, "no label in 'label'"),
    ({"label": float("nan")}, "no label in 'label'"),
    ({"label": float("inf")}, "is float, not text or a number"),
    ({"label": ["x"]}, "the label in 'label' is a list"),
    ({"label": {"x": 1}}, "is dict, not text or a number"),
    ({"label": b"x"}, "is bytes, not text or a number"),
]


@pytest.mark.parametrize(("change", "problem"), BAD)
def test_a_bad_row_is_named_or_skipped_and_counted(change: dict[str, Any], problem: str) -> None:
    strict, lenient = reader(), reader(on_bad_row="skip")
    with pytest.raises(DataError, match=problem) as error:
        list(strict.read(rows(GOOD, GOOD | change)))
    assert str(error.value).startswith("f:2: ")
    assert "data.on_bad_row: skip" in str(error.value)
    assert [record is not None for record in lenient.read(rows(GOOD, GOOD | change, GOOD))] == [True, False, True]
    assert lenient.num_read == 3
    assert lenient.skipped.total() == 1
    assert problem in next(iter(lenient.skipped))


@pytest.mark.parametrize(("null", "used"), [("title", True), ("text", True), ("both", False)])
def test_null_in_a_field_is_an_empty_cell(null: str, used: bool) -> None:
    empty = {name: None for name in ("title", "text") if null in (name, "both")}
    for label in ("label", None):  # training and test; prediction
        (record,) = reader(label=label, on_bad_row="skip").read(rows(GOOD | empty))
        (of_csv,) = reader(label=label, on_bad_row="skip").read(rows(GOOD | dict.fromkeys(empty, "")))
        assert record == of_csv
        assert (record is not None) is used


def test_a_hint_that_fits_no_row_is_not_given() -> None:
    bad = GOOD | {"label": ["x"]}
    for values, hint in (
        ([bad] * 9, "no other row can be used either"),
        ([bad] * 8 + [GOOD], "data.on_bad_row: skip"),
        ([bad], "; fix the row"),
    ):
        with pytest.raises(DataError) as error:
            list(reader().read([Row("f:0", {}, BLANK), *rows(*values)]))
        assert str(error.value).startswith("f:1: the label in 'label' is a list; write data.multi_label: true; ")
        assert str(error.value).endswith(hint)
        assert ("skip" in str(error.value)) is (hint == "data.on_bad_row: skip")


def test_blank_lines_are_counted_and_harmless() -> None:
    strict = reader()
    found = list(strict.read([Row("f:1", {}, BLANK), *rows(GOOD), Row("f:3", {}, BLANK)]))
    assert [record is not None for record in found] == [False, True, False]
    assert strict.skipped == {BLANK: 2}


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize("missing", ["text", "label", "id"])
def test_a_missing_column_lists_those_there_are(missing: str, on_bad_row: str) -> None:
    options = {"id": "id"} if missing == "id" else {}
    row = {name: value for name, value in (GOOD | {"extra": "1"}).items() if name != missing}
    with pytest.raises(
        DataError, match=rf"f:1: there is no column '{missing}'(; did you mean \w+\? T|; t)here are '.*'extra'"
    ):
        list(reader(on_bad_row=on_bad_row, **options).read(rows(row, row)))


def test_one_row_without_a_column_may_be_skipped_wherever_it_stands() -> None:
    without = {"title": "t", "text": "t"}
    for order in ([without, GOOD], [GOOD, without]):
        lenient = reader(on_bad_row="skip")
        assert sum(record is not None for record in lenient.read(rows(*order))) == 1
        assert lenient.skipped == {"no label in 'label'": 1}


def test_the_id_is_the_column_or_else_the_place() -> None:
    first, second, third = reader(id="id").read(
        rows(GOOD | {"id": 7}, GOOD | {"id": "seven"}, GOOD | {"id": None}),
    )
    assert [record.id for record in (first, second, third) if record] == ["7", "seven", "f:3"]


def test_without_labels_none_are_asked_for() -> None:
    (record,) = reader(label=None).read(rows({"title": "", "text": "some text"}))
    assert record is not None
    assert record.labels is None  # and not (), which is a text of several labels that has none


VALUES = (
    st.none()
    | st.text(max_size=3)
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.booleans()
    | st.lists(st.text(max_size=2))
)


@ANY
@given(values=st.lists(st.fixed_dictionaries({"title": VALUES, "text": VALUES, "label": VALUES}), max_size=10))
def test_rows_read_are_rows_used_and_rows_skipped(values: list[dict[str, Any]]) -> None:
    for separator in (None, "|"):
        lenient = reader(on_bad_row="skip", label_separator=separator)
        used = [record for record in lenient.read(rows(*values)) if record is not None]
        assert lenient.num_read == len(values) == len(used) + lenient.skipped.total()
        assert all(any(text.strip() for text in record.texts) for record in used)
        assert separator or all(len(record.labels) == 1 and record.labels[0].strip() for record in used)


@pytest.mark.parametrize("limit", [30, {"train": 30}])
def test_the_report_of_a_split_file_adds_up(tmp_path: Path, limit: Any) -> None:
    good = [{"title": f"t {i}", "text": "text", "label": "xy"[i % 2]} for i in range(40)]
    bad = [{"title": "t", "text": "", "label": None}, {"title": None, "text": None, "label": "x"}]
    report = tiny_corpus(tmp_path, [bad[0], *good, bad[1]], on_bad_row="skip", limit=limit).scan().report
    assert sum(report[split]["read"] for split in ("train", "valid", "test")) == 42
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 30
    assert report["train"]["skipped"] == {"no label in 'label'": 1, "no text": 1, "beyond data.limit": 10}
    for split in ("train", "valid", "test"):
        assert report[split]["read"] == report[split]["used"] + sum(report[split]["skipped"].values())


def test_records_come_back_by_their_rows(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path)
    scan = corpus.scan()
    for split, numbers in scan.rows.items():
        records = list(corpus.records(split, numbers))
        assert [record.place for record in records] == [f"{tmp_path}/rows.jsonl:{number + 1}" for number in numbers]
        assert [scan.label_sets[n] for n in scan.label_numbers[split]] == [record.labels for record in records]


def test_a_file_that_lost_rows_since_the_scan_is_refused(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path)
    scan = corpus.scan()
    write_jsonl(tmp_path / "rows.jsonl", [GOOD])
    with pytest.raises(DataError, match=r"rows.jsonl: changed while it was being read"):
        list(corpus.records("train", scan.rows["train"]))


def test_one_start_names_every_kind_of_bad_row_and_three_of_them_in_words(tmp_path: Path) -> None:
    bad = [{"text": 1.5}, {"label": ""}, {"text": 3}, {"text": 2.5}, {"text": True}, {"text": ["a"]}, {"label": ""}]
    path = write_jsonl(tmp_path / "x.jsonl", [GOOD, *(GOOD | change for change in bad), GOOD])
    with pytest.raises(DataError) as error:
        list(reader().read(FORMATS["jsonl"](path, Layout())))
    assert str(error.value) == (
        f"{path}:2: 'text' is float, not text; 6 more bad rows: 2 no label in 'label' (from {path}:3), 1 'text' is int, not text "
        f"(from {path}:4), 1 'text' is float, not text (from {path}:5), 2 for 2 other reasons; fix the row, or skip such rows with "
        "data.on_bad_row: skip"
    )


def test_a_file_that_ends_badly_after_a_bad_row_says_both(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('title,text,label\na,,x\na,,\na,b,x\na,"b,x\na,b,x\n')
    with pytest.raises(DataError, match=r"x.csv:3: no label in 'label'; and then .*x.csv:5: not CSV"):
        list(reader().read(FORMATS["csv"](tmp_path / "x.csv", Layout())))


def test_a_prediction_ends_at_its_first_bad_row() -> None:
    """It may read a pipe without an end."""
    endless = (Row(f"f:{number}", GOOD | {"text": 3}) for number in itertools.count(1))
    with pytest.raises(DataError, match="f:1: 'text' is int, not text; fix the row"):
        list(reader(label=None).read(endless))


@pytest.mark.parametrize(
    ("separator", "value"), [(None, "unsup"), ("|", "unsup"), ("|", "x|unsup"), ("|", ["unsup", "x"])]
)
def test_rows_of_ignored_labels_are_counted_and_never_an_error(separator: str | None, value: Any) -> None:
    strict = reader(ignore_labels=["unsup", "none"], label_separator=separator)
    found = list(strict.read(rows(GOOD, GOOD | {"label": value, "text": None}, GOOD)))
    assert [record is not None for record in found] == [True, False, True]
    assert strict.skipped == {"of the ignored label 'unsup'": 1}


@pytest.mark.parametrize("name", ["x (y)", "x; y", "it's (x)", 'it\'s "x" (y); z', "x\\"])
def test_a_column_or_a_label_with_brackets_is_counted_by_its_whole_name(name: str) -> None:
    careful = reader_of(["title", name], label=name, on_bad_row="skip", ignore_labels=[name])
    values = [{"title": "t", name: name}, {"title": "t", name: ""}, {"title": "t", name: 3}]
    assert list(careful.read(rows(*values))) == [None] * 3
    reasons = [f"of the ignored label {name!r}", f"no label in {name!r}", f"{name!r} is int, not text"]
    assert careful.skipped == dict.fromkeys(reasons, 1)
    assert describe_unused([name, "z"], [careful.skipped]) == ["data.ignore_labels: no row has the label 'z'"]


def test_an_ignored_label_that_no_row_has_is_said(tmp_path: Path) -> None:
    values = [{"title": f"t {i}", "text": "text", "label": "xyz"[i % 3]} for i in range(40)]
    report = tiny_corpus(tmp_path, values, ignore_labels=["z", "zz"]).scan().report
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 27
    assert report["train"]["skipped"] == {"of the ignored label 'z'": 13}
    assert [line for line in report["warnings"] if "ignore" in line] == [
        "data.ignore_labels: no row has the label 'zz'"
    ]


def test_a_limit_may_be_of_one_file(tmp_path: Path) -> None:
    rows = [{"title": f"t {i}", "text": f"text {i}", "label": "xy"[i % 2]} for i in range(40)]
    write_jsonl(tmp_path / "valid.jsonl", [row | {"text": f"valid {row['text']}"} for row in rows])
    corpus = tiny_corpus(
        tmp_path, rows, valid=str(tmp_path / "valid.jsonl"), limit={"train": 10}, split=[0.8, 0.1, 0.1]
    )
    report = corpus.scan().report
    assert (report["train"]["used"] + report["test"]["used"], report["valid"]["used"]) == (10, 40)
    with pytest.raises(ValueError, match="limit: test is no split with a file of its own; those are train, valid"):
        tiny_corpus(tmp_path, rows, valid=str(tmp_path / "valid.jsonl"), limit={"test": 10})
    with pytest.raises(ValueError, match="limit must be at least 1"):
        tiny_corpus(tmp_path, rows, limit={"train": 0})
