"""The names of a text's labels, in whatever way a file writes them; what is no label is refused with what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpora import corpus_of

from datasets.rows.label_reader import LabelReader, is_written_list
from utils.errors import DataError

NAN, INF = float("nan"), float("inf")
ABC = ["a", "b", "c"]

ONE: list[tuple[Any, str]] = [
    ("x", "x"),
    (" x ", " x "),  # letter for letter
    ("001", "001"),
    ("None", "None"),
    ("x|y", "x|y"),
    ("['x', 'y']", "['x', 'y']"),
    (3, "3"),
    (-1, "-1"),
    (True, "true"),
    (False, "false"),
    (1.0, "1.0"),
    (0.5, "0.5"),
]


@pytest.mark.parametrize(("value", "label"), ONE)
def test_a_label_is_a_name(value: Any, label: str) -> None:
    assert LabelReader("y").read(value) == ((label,), None)
    assert LabelReader("y", separator="|").read([value]) == ((label,), None)


NONE: list[tuple[Any, str]] = [
    (None, "no label in 'y'"),
    ("", "no label in 'y'"),
    (" ", "no label in 'y'"),
    (NAN, "no label in 'y'"),
    (INF, "the label in 'y' is float, not text or a number"),
    (b"x", "the label in 'y' is bytes, not text or a number"),
    ({"x": 1}, "the label in 'y' is dict, not text or a number"),
    (["x"], "the label in 'y' is a list; write data.multi_label: true"),
    ([], "the label in 'y' is a list; write data.multi_label: true"),
]


@pytest.mark.parametrize(("value", "problem"), NONE)
def test_what_is_no_label_is_named(value: Any, problem: str) -> None:
    assert LabelReader("y").read(value) == ((), problem)


MANY: list[tuple[Any, str, tuple[str, ...]]] = [
    ("y | x|", "|", ("x", "y")),
    ("", "|", ()),
    (["y", "x", 3], "|", ("3", "x", "y")),
    ([], "|", ()),
    (["a|b"], "|", ("a|b",)),
    (3, "|", ("3",)),  # as a cell of CSV
    (False, "|", ("false",)),
    ("[deleted]", "|", ("[deleted]",)),
    ("(other)", "|", ("(other)",)),
    ("[a]|[b]", "|", ("[a]", "[b]")),
    # Lists written as text.
    ("['sport', 'food']", "|", ("food", "sport")),
    ("['sport', 'food']", ",", ("food", "sport")),
    ("[ 'sport' ]", "|", ("sport",)),
    ('["sport", "food"]', "|", ("food", "sport")),
    ('["caf\\u00e9", true]', "|", ("café", "true")),
    ("['it\\'s', \"a|b\"]", "|", ("a|b", "it's")),
    ("('sport', 'food')", "|", ("food", "sport")),
    ("{'sport', 'food'}", "|", ("food", "sport")),
    ("[]", "|", ()),
    ("()", "|", ()),
    ("set()", "|", ()),
    ("[2, 7]", "|", ("2", "7")),
    ("(2, 7)", "|", ("2", "7")),
    ("(2,)", "|", ("2",)),
    ("{7}", "|", ("7",)),
    ("['a\\d']", "|", ("a\\d",)),  # no warning of the escape, either
    ("frozenset({'sport', 'food'})", "|", ("food", "sport")),
    ("array(['sport', 'food'], dtype=object)", "|", ("food", "sport")),
    ("array(['a', 'b'],\n      dtype='<U5')", ",", ("a", "b")),
    ("Index(['a', 'b'], dtype='object', name='y')", "|", ("a", "b")),
    ("'sport', 'food'", "|", ("food", "sport")),
    ('"sport", "food"', ",", ("food", "sport")),
    ("frozenset()", "|", ()),
    ("array([], dtype=object)", "|", ()),
    ("set of (a)", "|", ("set of (a)",)),
    ("list(a, b)", "|", ("list(a, b)",)),
    ("'t is, isn't", "|", ("'t is, isn't",)),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("value", "separator", "labels"), MANY)
def test_a_list_of_labels_is_sorted_whatever_its_form(value: Any, separator: str, labels: tuple[str, ...]) -> None:
    assert LabelReader("y", separator=separator).read(value) == (labels, None)


NO_LIST: list[Any] = [
    None, NAN, {"x": 1}, [""], ["x", None], [NAN], [{"x": 1}], [["x"]],
    "['sport' 'food']",  # numpy's: Python itself would read one text
    "[sport, food]", "['sport', food]", "['sport'", "[" * 5000 + "'a'" + "]" * 5000, "['a', None]", "[['a']]", "{'a': 1}",
    "['a'].clear()]", "[__import__('os').getcwd()]",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_LIST, ids=str)
def test_what_is_no_list_of_labels_is_refused(value: Any) -> None:
    labels, problem = LabelReader("y", separator="|").read(value)
    if value == "['sport'":
        assert labels == ("['sport'",)  # an open bracket is text
    else:
        assert (labels, problem) == ((), "no list of labels in 'y'; write [] for none")


POSITIONS: list[Any] = [
    [1, 1, 0], [True, True, False], [1.0, 1.0, 0.0], ["1", "1", "0"],
    "1|1|0", "1 1 0", "[1, 1, 0]", "[1 1 0]", "[1. 1. 0.]", "1,1,0", "1;1;0", "[True, True, False]", "(1, 1, 0)", "1\t1\t0",
    "array([1, 1, 0])",
]  # fmt: skip


@pytest.mark.parametrize("value", POSITIONS, ids=str)
def test_a_multi_hot_list_is_refused_with_the_way_out_or_read_by_the_names(value: Any) -> None:
    labels, problem = LabelReader("y", separator="|").read(value)
    assert labels == ()
    assert problem is not None
    assert "data.label_names: [first, second, ...]" in problem
    for separator in ("|", " ", ","):
        assert LabelReader("y", separator=separator, names=ABC).read(value) == (("a", "b"), None)
    for names in (["a", "b"], [*ABC, "d"]):
        problem = LabelReader("y", separator="|", names=names).read(value)[1]
        assert problem == f"no 0 or 1 for each of the {len(names)} data.label_names in 'y'"


@pytest.mark.parametrize(
    "value", [[1, 2, 0], ["a", "b", "c"], "", None, 110, "110", [], [1, None, 0], {"a": 1}], ids=str
)
def test_names_want_positions(value: Any) -> None:
    assert LabelReader("y", separator="|", names=ABC).read(value)[1] is not None


@pytest.mark.parametrize("value", [["B-PER", "O", "O"], ["x", "x"], "x|x", "['x', 'x']", [3, 3], [0, 0, 5]], ids=str)
def test_a_repeat_in_a_list_of_labels_is_refused(value: Any) -> None:
    labels, problem = LabelReader("y", separator="|").read(value)
    assert labels == ()
    assert str(problem).startswith("a repeated label in 'y' (")
    assert str(problem).endswith("; repeats and order, as in tags per word, are not supported")


@pytest.mark.parametrize(("label", "is_list"), [("['a']", True), ('["a", "b"]', True), ("[1 0 1]", True), ("1 0 1", True),
    ("frozenset({'a'})", True), ("array(['a', 'b'], dtype=object)", True), ("'a', 'b'", True), ("list(a)", False),
    ("[deleted]", False), ("a, b", False), ("(a)", False), ("10", False), ("1", False), ("['a'", False)])  # fmt: skip
def test_a_label_that_looks_like_a_list(label: str, is_list: bool) -> None:
    assert is_written_list(label) is is_list


# Files.

TEXTS = [f"text number {i} of {word}" for i, word in enumerate(["boats", "bread", "kings", "rain", "trains"] * 12)]


def write_labelled(path: Path, values: list[Any]) -> Path:
    """The texts with these labels in turn; a value that is no text is written as pandas writes it."""
    values = [values[i % len(values)] for i in range(len(TEXTS))]
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, "y": value}) for text, value in zip(TEXTS, values, strict=True)]
        path.write_text("".join(line + "\n" for line in lines))
    elif path.suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"text": TEXTS, "y": values}), path)
    else:
        cells = ['"' + str(value).replace('"', '""') + '"' for value in values]
        path.write_text("text,y\n" + "".join(f"{text},{cell}\n" for text, cell in zip(TEXTS, cells, strict=True)))
    return path


FORMATS = ["x.csv", "x.jsonl", "x.parquet"]
OPTIONS: dict[str, Any] = {"fields": ["text"], "label": "y"}


def scanned(path: Path, values: list[Any], **options: Any) -> Any:
    return corpus_of(write_labelled(path, values), **OPTIONS, **options).scan()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("values", "labels"), [([0, 1], ["0", "1"]), ([1.0, 2.5], ["1.0", "2.5"]), ([True, False], ["false", "true"])]
)
def test_a_column_has_the_same_labels_in_every_format(
    tmp_path: Path, name: str, values: list[Any], labels: list[str]
) -> None:
    found = scanned(tmp_path / name, values).labels
    assert found == (sorted(map(str, values)) if name == "x.csv" else labels)  # Python's own word for true is "True"
    assert [label.lower() for label in found] == labels


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize(
    "values", [[[1, 1, 0], [0, 0, 1]], [[1, 0], [0, 1]], [[True, False], [False, True], [True, True]]]
)
def test_a_file_of_positions_is_refused_or_read_by_the_names(
    tmp_path: Path, name: str, on_bad_row: str, values: list[Any]
) -> None:
    with pytest.raises(DataError, match=r"data\.label_names: \[first|rows were read|a repeated label"):
        scanned(tmp_path / name, values, multi_label=True, on_bad_row=on_bad_row)
    names = ["sport", "food", "music"][: len(values[0])]
    scan = scanned(tmp_path / name, values, multi_label=True, label_names=names)
    assert scan.labels == sorted(names)
    expected = {tuple(sorted(n for n, bit in zip(names, value, strict=True) if bit)) for value in values}
    assert set(scan.label_sets) == expected
    assert scan.report["warnings"] == []


@pytest.mark.parametrize("name", FORMATS)
def test_lists_have_the_same_labels_in_every_format(tmp_path: Path, name: str) -> None:
    scan = scanned(tmp_path / name, [["sport", "food"], ["music"], []], multi_label=True)
    assert set(scan.label_sets) == {("food", "sport"), ("music",), ()}


def test_a_column_of_lists_that_is_read_as_one_label_is_said(tmp_path: Path) -> None:
    (line,) = scanned(tmp_path / "x.csv", [["sport", "food"], ["music"]]).report["warnings"]
    assert line == "2 of the 2 labels in 'y' look like lists, such as \"['music']\"; is data.multi_label: true meant?"
    (line,) = scanned(tmp_path / "x.csv", ["frozenset({'sport'})", "none", "music"]).report["warnings"]
    assert line.startswith("1 of the 3 labels in 'y' look like lists, such as \"frozenset({'sport'})\"")


@pytest.mark.parametrize(("values", "is_said"), [(["food,x", "food"], True), (["food;x", "y"], True),
    (["a|b", "food,x"], False), (["food", "x"], False), ([["food, drink"], ["x", "y"]], False)])  # fmt: skip
def test_another_separator_is_said(tmp_path: Path, values: list[Any], is_said: bool) -> None:
    warnings = scanned(tmp_path / "x.jsonl", values, multi_label=True).report["warnings"]
    assert [line for line in warnings if "look like several" in line] == warnings[: int(is_said)]
    assert all("is data.label_separator: '|' right?" in line for line in warnings[: int(is_said)])
    assert bool(warnings) is is_said


def test_a_name_that_no_row_has_is_said(tmp_path: Path) -> None:
    scan = scanned(tmp_path / "x.jsonl", [[1, 0, 0], [0, 1, 0]], multi_label=True, label_names=ABC)
    assert scan.report["warnings"] == ["no row has 1 of the 3 data.label_names ('c')"]


def test_one_set_of_labels_in_all_rows_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x.jsonl: all texts have the same labels \('a', 'b'\)$"):
        scanned(tmp_path / "x.jsonl", [["a", "b"]], multi_label=True)


@pytest.mark.parametrize(
    "options", [{"label_names": ABC}, {"label_names": ["a", "a"], "multi_label": True}, {"label_separator": ""}]
)
def test_options_of_labels_that_fit_nothing_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        corpus_of(tmp_path / "x.jsonl", **OPTIONS, **options)
