"""Every row of a file comes back as it was written, or with its line and what is wrong."""

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from corpora import ANY, reader_of
from hypothesis import given
from hypothesis import strategies as st

from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import BLANK, Layout
from datasets.sources.files import Files
from utils.errors import DataError

ROWS = [
    {"text": 'a "quoted", word', "label": "x"},
    {"text": "two\nlines", "label": "y"},
    {"text": "naïve Übung 😀 שלום", "label": "001"},
]


def read(path: Path, **layout: Any) -> list[tuple[int, dict[str, Any] | str]]:
    """(line, values or problem) of every row."""
    rows = FORMATS[format_of(path)](path, Layout(**layout))
    return [(int(row.place.rpartition(":")[2]), row.problem or row.values) for row in rows]


def delimited(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def parquet(rows: list[dict[str, str]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


WRITERS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "csv": delimited,
    "tsv": lambda rows: delimited(rows, "\t"),
    "jsonl": json_lines,
    "ndjson": json_lines,
    "parquet": parquet,
}


@pytest.mark.parametrize("is_gz", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("ending", WRITERS)
def test_rows_come_back_as_they_were_written(tmp_path: Path, ending: str, is_gz: bool) -> None:
    path = tmp_path / f"rows.{ending}{'.gz' if is_gz else ''}"
    data = WRITERS[ending](ROWS)
    path.write_bytes(gzip.compress(data) if is_gz else data)
    assert [values for _, values in read(path, has_quotes=True)] == ROWS
    reader = reader_of(["text"], label="label", on_bad_row="skip")
    records = reader.read(Files(train=str(path), quotes=True).rows("train"))
    assert sum(record is not None for record in records) == reader.num_read == 3


AB = {"text": "a", "label": "b"}
CSV: dict[str, tuple[bytes, list[tuple[int, Any]]]] = {
    "crlf": (b"text,label\r\na,b\r\n", [(2, AB)]),
    "bom": (b"\xef\xbb\xbftext,label\na,b\n", [(2, AB)]),
    "no last line end": (b"text,label\na,b", [(2, AB)]),
    "newline in quotes": (b'text,label\n"1\n2\n",b\na,b\n', [(2, {"text": "1\n2\n", "label": "b"}), (5, AB)]),
    "newline in the header": (b'text,"la\nbel"\na,b\n', [(3, {"text": "a", "la\nbel": "b"})]),
    "doubled quotes": (b'text,label\n"say ""a""",b\n', [(2, {"text": 'say "a"', "label": "b"})]),
    "a quote inside": (b'text,label\n5" disk,b\n', [(2, {"text": '5" disk', "label": "b"})]),
    "backslash and NA": (b"text,label\n\\n,NA\n", [(2, {"text": "\\n", "label": "NA"})]),
    "unicode line ends": ("text,label\na\u2028b\x85c\x1cd,b\n".encode(), [(2, {"text": "a\u2028b\x85c\x1cd", "label": "b"})]),
    "longer than csv's limit": (b"text,label\n" + b"x" * 200_000 + b",b\n", [(2, {"text": "x" * 200_000, "label": "b"})]),
    "blank lines": (b"\n\ntext,label\n\na,b\n", [(1, BLANK), (2, BLANK), (4, BLANK), (5, AB)]),
    "short and long rows": (b"text,label\na\na,b,c\na,b\n", [(2, "1 columns instead"), (3, "3 columns instead"), (4, AB)]),
    "carriage return": (b'text,label\na\rx,b\n"a\rx",b\n', [(2, "not CSV (a carriage return inside a cell without quotes); quote the"), (3, {"text": "a\rx", "label": "b"})]),
    "stray quote": (b'text,label\n"a"x,b\na,b\n', [(2, "not CSV"), (3, AB)]),
    "stray quote over lines": (b'text,label\n"a,b\nc,"d"\na,b\n', [(2, "not CSV"), (3, "not CSV"), (4, AB)]),
    "cut off in a quote": (b'text,label\na,b\n"cut', [(2, AB), (3, "not CSV")]),
    "bad byte": (b"text,label\ncaf\xe9,b\na,b\n", [(2, "not utf-8 (byte 0xe9 at 4)"), (3, AB)]),
    "bad byte in quotes": (b'text,label\n"caf\xe9\n1",b\na,b\n', [(2, "not utf-8"), (4, AB)]),
    "bad byte and a stray quote": (b'text,label\n"\xe9"x,b\na,b\n', [(2, "not utf-8"), (3, AB)]),
    "only a header": (b"text,label\n", []),
    "empty": (b"", []),
}  # fmt: skip


def assert_rows(found: list[tuple[int, Any]], expected: list[tuple[int, Any]]) -> None:
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (_, values), (_, wanted) in zip(found, expected, strict=True):
        assert wanted in values if isinstance(wanted, str) else values == wanted


@pytest.mark.parametrize("case", CSV)
def test_csv_rows_and_their_lines(tmp_path: Path, case: str) -> None:
    path, (data, expected) = tmp_path / "rows.csv", CSV[case]
    path.write_bytes(data)
    assert_rows(read(path), expected)


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "a quote never closed": ("rows.csv", b'text,label\na,b\n"never,b\na,b\na,b\n', "rows.csv:3: not CSV"),
    "a bad byte in the header": ("rows.csv", b"te\xe9xt,label\na,b\n", "rows.csv:1: not utf-8"),
    "a stray quote in the header": ("rows.csv", b'"text"s,label\na,b\n', "rows.csv:1: not CSV"),
    "lone carriage returns": ("rows.csv", b"text,label\ra,b\r", "rows.csv:1: its lines end in a carriage return alone"),
    "lone carriage returns in JSON": ("rows.jsonl", b'{"text": "a"}\r{"text": "b"}', "rows.jsonl:1: its lines end in"),
    "lone carriage returns in text": ("rows.txt", b"a\rb\r", "rows.txt:1: its lines end in a carriage return alone"),
    "a JSON array": ("rows.jsonl", b'[{"text": "a"},\n{"text": "b"}]\n', "rows.jsonl:1: is a JSON array; write one object"),
    "a JSON array over lines": ("rows.jsonl", b'[\n {"text": "a"}\n]\n', "rows.jsonl:1: is a JSON array"),
    "UTF-16": ("rows.jsonl", '{"text": "a"}\n'.encode("utf-16"), "looks like UTF-16"),
    "UTF-16 text": ("rows.txt", "a\nb\n".encode("utf-16"), "looks like UTF-16"),
    "gzip by another name": ("rows.jsonl", gzip.compress(b"{}\n"), "looks like gzip"),
    "no gzip": ("rows.csv.gz", b"text,label\na,b\n", "cannot be read"),
    "a gzip cut off": ("rows.txt.gz", gzip.compress(b"a\n" * 1000)[:-9], "cannot be read"),
    "a gzip with a wrong byte": ("rows.txt.gz", gzip.compress(bytes(range(256)))[:30] + b"\0" * 300, "cannot be read"),
    "no Parquet": ("rows.parquet", b"PAR1 is not all", "cannot be read as Parquet"),
    "a Parquet cut off": ("rows.parquet", parquet(ROWS)[:-20], "cannot be read as Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_trusted_is_refused_whole(tmp_path: Path, case: str) -> None:
    name, data, message = REFUSED[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read(tmp_path / name, encodings=("utf-8",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "layout"), [("rows.tsv", {}), ("rows.csv", {"has_quotes": False, "delimiter": "\t"})])
def test_quotes_mean_nothing_in_tsv_or_where_that_is_said(tmp_path: Path, name: str, layout: dict[str, Any]) -> None:
    path = tmp_path / name
    path.write_bytes(b'text\tlabel\n"a\tb\nc\td"\n')
    assert read(path, **layout) == [(2, {"text": '"a', "label": "b"}), (3, {"text": "c", "label": 'd"'})]


def test_a_tsv_whose_quotes_enclose_tabs_says_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b'text\tlabel\n"a\tb"\tc\n')
    assert read(path) == [(2, "3 columns instead of 2; if quotes enclose cells, write data.quotes: true")]
    assert read(path, has_quotes=True) == [(2, {"text": "a\tb", "label": "c"})]


def test_columns_may_be_named_where_there_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a;b\n")
    assert read(path, delimiter=";", columns=["text", "label"]) == [(1, AB)]


JSONL: dict[str, tuple[bytes, list[tuple[int, Any]]]] = {
    "blank lines": (b'\n{"text": "a"}\n  \r\n', [(1, BLANK), (2, {"text": "a"}), (3, BLANK)]),
    "bom and crlf": (b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}', [(1, {"text": "a"}), (2, {"text": "b"})]),
    "unicode line ends": ('{"text": "a\u2028b\x85c"}\n'.encode(), [(1, {"text": "a\u2028b\x85c"})]),
    "no object": (b'[1]\n3\n"a"\nnull\n', [(line, "not a JSON object") for line in (1, 2, 3, 4)]),
    "a line cut off": (b'{"text": "a"}\n{"text": "b', [(1, {"text": "a"}), (2, "not JSON")]),
    "trailing comma": (b'{"text": "a",}\n{"text": "a"}\n', [(1, "not JSON"), (2, {"text": "a"})]),
    "single quotes": (b"{'text': 'a'}\n", [(1, "not JSON")]),
    "two objects": (b'{"text": "a"} {"text": "b"}\n', [(1, "not JSON")]),
    "lone carriage return": (b'{"text": "a"}\r{"text": "b"}\n', [(1, "not JSON")]),
    "a key twice": (b'{"text": "a", "text": "b"}\n', [(1, "a key appears twice")]),
    "5,000 digits": (b'{"text": ' + b"1" * 5000 + b"}\n", [(1, "not JSON")]),
    "100,000 brackets": (b"[" * 100_000 + b"\n", [(1, "not JSON")]),
    "a bad byte": (b'{"text": "caf\xe9"}\n', [(1, "not utf-8 (byte 0xe9 at 14)")]),
    "a NUL byte": (b'{"text": "a\0"}\n{"text": "a\\u0000"}\n', [(1, "a NUL byte"), (2, {"text": "a\0"})]),
}  # fmt: skip


@pytest.mark.parametrize("case", JSONL)
def test_json_rows_and_their_lines(tmp_path: Path, case: str) -> None:
    path, (data, expected) = tmp_path / "rows.jsonl", JSONL[case]
    path.write_bytes(data)
    assert_rows(read(path), expected)


def test_every_line_of_plain_text_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes('\ufeffa, "b"\r\n \nc\x85d'.encode())
    assert_rows(read(path), [(1, {"text": 'a, "b"'}), (2, BLANK), (3, {"text": "c\x85d"})])


LATIN, UTF, CP = "café\n".encode("latin-1"), "café\n".encode(), "“café”\n".encode("cp1252")
ENCODINGS: list[tuple[bytes, list[str], Any]] = [
    (UTF, ["utf-8"], "café"),
    (UTF, ["utf-8", "latin-1"], "café"),
    (LATIN, ["utf-8", "latin-1"], "café"),
    (LATIN, ["latin-1"], "café"),
    (CP, ["utf-8", "cp1252"], "“café”"),
    (LATIN, ["ascii", "utf-8"], None),
    (UTF + LATIN, ["utf-8"], "café"),  # the first line is sound
    (LATIN + UTF, ["utf-8", "latin-1"], "café"),
    (UTF + LATIN, ["utf-8", "latin-1"], "cafÃ©"),  # one encoding for the whole file: the first that fits every line
]


@pytest.mark.parametrize(("data", "encodings", "first"), ENCODINGS)
def test_the_first_encoding_that_fits_the_whole_file(
    tmp_path: Path, data: bytes, encodings: list[str], first: str | None
) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(data)
    rows = read(path, encodings=encodings)
    assert rows[0][1] == {"text": first} if first else f"not {encodings[0]}" in str(rows[0][1])


def test_encodings_are_tried_for_every_file_of_a_folder(tmp_path: Path) -> None:
    for label, name, data in (("x", "1.txt", UTF), ("x", "2.txt", LATIN), ("y", "1.txt", "a".encode("utf-16"))):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / name).write_bytes(data)
    rows = list(FORMATS["folder"](tmp_path, Layout(encodings=["utf-8", "latin-1"])))
    assert [row.values["text"] for row in rows[:2]] == ["café\n", "café\n"]
    assert "UTF-16" in str(rows[2].problem)  # which Latin-1 would have read


def test_a_folder_per_class_gives_label_and_id(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/10.txt", "a/1.txt", "a/.hidden", ".git/config", "note.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a" / "2.txt.gz").write_bytes(gzip.compress(b"packed"))
    found = list(Files(train=str(tmp_path)).rows("train"))
    rows = [row.values for row in found if row.problem is None]
    assert sorted(str(row.problem) for row in found if row.problem) == [
        "file next to the class folders",
        "hidden file",
        "hidden file",
    ]
    assert [row["id"] for row in rows] == ["a/1.txt", "a/2.txt.gz", "b/10.txt", "b/2.txt"]
    assert [row["label"] for row in rows] == ["a", "a", "b", "b"]
    assert rows[1]["text"] == "packed"


NO_FILE = [
    ("none.csv", "no such file or folder"),
    ("link.csv", "is a broken link"),
    ("rows.xlsx", "does not tell the format"),
    ("rows", "does not tell the format"),
    ("empty", "holds no file in a folder per class"),
    ("pipe.csv", "is not a regular file"),
]


@pytest.mark.parametrize(("name", "message"), NO_FILE)
def test_what_is_no_file_of_rows_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "link.csv").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for other in ("rows.xlsx", "rows"):
        (tmp_path / other).touch()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=message) as error:
        Files(train=str(tmp_path / name)).files("train")
    assert str(tmp_path / name) in str(error.value)


WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"train": ""}, "empty path"),
    ({"valid": ""}, "empty path"),
    ({"format": "excel"}, "one of csv, tsv"),
    ({"delimiter": "||"}, "one character"),
    ({"delimiter": '"'}, "not be a quote"),
    ({"columns": ["a", "a"]}, "each column once"),
    ({"encoding": []}, "empty list"),
    ({"encoding": "utf-9"}, "'utf-9' is unknown"),
    ({"encoding": ["utf-8", "utf-16"]}, "'utf-16' is not supported"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_wrong_options_are_refused_before_a_file_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**({"train": "none.csv"} | options))


ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@ANY
@given(texts=st.lists(ANY_TEXT, max_size=8))
def test_any_text_comes_back_from_csv_at_its_line(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    rows = [{"text": text, "label": "x"} for text in texts]
    path.write_bytes(delimited(rows))
    assert [values for _, values in read(path)] == rows
    lines = [2 + sum(1 + before.count("\n") for before in texts[:i]) for i in range(len(texts))]
    assert [line for line, _ in read(path)] == lines


@ANY
@given(texts=st.lists(ANY_TEXT, max_size=8))
def test_any_text_comes_back_from_json(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(json_lines([{"text": text} for text in texts]))
    assert read(path) == [(i + 1, {"text": text}) for i, text in enumerate(texts)]


PIECES = [b'"', b"\n", b"\r", b",", b"a", b"text", b"label", b"{", b"}", b":", b"\xe9", b"\xff", b"\0", b"\xef\xbb\xbf"]


@ANY
@given(data=st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join))
@pytest.mark.parametrize("name", ["any.csv", "any.tsv", "any.jsonl", "any.txt", "any.txt.gz", "any.parquet"])
def test_any_bytes_are_rows_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    reader = reader_of(["text"], label=None, on_bad_row="skip")
    num_used, refusal = 0, None
    try:
        for record in reader.read(FORMATS[format_of(path)](path, Layout())):
            num_used += record is not None
    except DataError as error:
        refusal = str(error)
    assert str(path) in refusal if refusal else reader.num_read == num_used + reader.skipped.total()
