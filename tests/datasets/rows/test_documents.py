"""Files of raw text as documents of sentences."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from datasets.rows.documents import Document, DocumentReader
from datasets.rows.sentences import sentences
from datasets.sources.documents import Documents
from utils.errors import DataError


def read(path: Path, **options: Any) -> tuple[list[Document], DocumentReader]:
    source = Documents(train=str(path), **options)
    reader = source.reader()
    return list(reader.read(source.files("train"))), reader


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def texts(documents: list[Document]) -> list[list[str]]:
    return [document.sentences for document in documents]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        (
            "Mr. Smith met Dr. J. Brown, e.g. in May. It rained.",
            ["Mr. Smith met Dr. J. Brown, e.g. in May.", "It rained."],
        ),
        ("It was 3.5 m. Really? yes. No.", ["It was 3.5 m.", "Really? yes.", "No."]),
        ("so did I. Then we went.", ["so did I.", "Then we went."]),
        ("a tokenised text . The next one .", ["a tokenised text .", "The next one ."]),
        (
            "\u4eca\u5929\u4e0b\u96e8\u3002\u6211\u5728\u5bb6\u3002",
            ["\u4eca\u5929\u4e0b\u96e8\u3002", "\u6211\u5728\u5bb6\u3002"],
        ),
        ("\u00c9l vino. \u00c1ngel no.", ["\u00c9l vino.", "\u00c1ngel no."]),
        ("Wait... What? (Nothing.) Go.", ["Wait...", "What?", "(Nothing.)", "Go."]),
        ("", []),
        ("   ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


def test_sentences_hold_every_word() -> None:
    text = "A b. C d! e? F. (G. H) \u201cI. J\u201d K. L. 5. M"
    assert " ".join(sentences(text)).split() == text.split()


def test_a_blank_line_ends_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\ntwo\n\n\nthree\n")
    documents, reader = read(path, format="sentences")
    assert texts(documents) == [["one", "two"], ["three"]]
    assert (reader.num_read, sum(reader.skipped.values())) == (5, 2)


def test_a_line_of_two_sentences_is_a_document(tmp_path: Path) -> None:
    documents, _ = read(write(tmp_path / "a.txt", "one\ttwo\nthree\tfour\n"), format="pairs")
    assert texts(documents) == [["one", "two"], ["three", "four"]]


@pytest.mark.parametrize("line", ["no tab", "a\tb\tc", "\tb", "a\t"])
def test_a_line_of_other_than_two_sentences_is_refused_or_counted(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "a.txt", f"one\ttwo\n{line}\n")
    with pytest.raises(
        DataError, match=r"a\.txt:2: is not two sentences with a tab between them; data\.on_bad_row: skip"
    ):
        read(path, format="pairs")
    documents, reader = read(path, format="pairs", on_bad_row="skip")
    assert len(documents) == 1
    assert (reader.num_read, sum(reader.skipped.values())) == (2, 1)


def test_an_article_begins_at_its_title(tmp_path: Path) -> None:
    text = " \n = First = \n \n A b . C d . \n \n = = Part = = \n \n E . \n \n = Second = \n \n F . \n"
    documents, _ = read(write(tmp_path / "wiki.txt", text), format="wikitext")
    assert texts(documents) == [["First", "A b .", "C d .", "Part", "E ."], ["Second", "F ."]]
    assert [document.source for document in documents] == [0, 1]


def test_a_book_is_cut_at_a_sentence_and_stays_one_source(tmp_path: Path) -> None:
    write(tmp_path / "books/b.txt", "One two\nthree. Four five.\n\nSix. Seven.\n")
    write(tmp_path / "books/a.txt", "\ufeffEight nine.\r\n")
    write(tmp_path / "books/.hidden", "No.")
    documents, _ = read(tmp_path / "books", format="books", book_words=5)
    assert texts(documents) == [["Eight nine."], ["One two three.", "Four five."], ["Six.", "Seven."]]
    assert [document.source for document in documents] == [0, 1, 1]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.csv"])
def test_a_row_of_a_table_is_a_document(tmp_path: Path, name: str) -> None:
    rows = [{"abstract": "One. Two."}, {"abstract": "Three."}, {"abstract": " "}]
    lines = [json.dumps(row) for row in rows] if "jsonl" in name else ["abstract", *(row["abstract"] for row in rows)]
    content = ("\n".join(lines) + "\n").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    documents, reader = read(path, column="abstract")
    assert texts(documents) == [["One.", "Two."], ["Three."]]
    assert (reader.num_read, sum(reader.skipped.values())) == (3, 1)


def test_several_files_and_folders(tmp_path: Path) -> None:
    write(tmp_path / "a/1.txt", "one\n")
    write(tmp_path / "b.txt", "two\n")
    source = Documents(train=[str(tmp_path / "b.txt"), str(tmp_path / "a")], format="sentences")
    assert texts(list(source.reader().read(source.files("train")))) == [["two"], ["one"]]


def test_a_file_without_a_blank_line_is_warned_of(tmp_path: Path) -> None:
    _, reader = read(write(tmp_path / "a.txt", "one\n" * 101), format="sentences")
    assert "has no blank line, so that it is one document" in reader.warnings[0]


@pytest.mark.parametrize(
    ("name", "is_said"), [("a.csv.gz", True), ("a.jsonl", True), ("a.txt", False), ("a.tsv", False)]
)
def test_a_table_that_is_read_as_lines_is_warned_of(tmp_path: Path, name: str, is_said: bool) -> None:
    content = b"one\ttwo\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    _, reader = read(tmp_path / name, format="pairs")
    assert any("is data.format: pairs right?" in line for line in reader.warnings) is is_said


def test_a_short_file_after_a_long_one_is_not_warned_of(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "one\n\n" * 1000)
    write(tmp_path / "b.txt", "one\ntwo\n")
    source = Documents(train=[str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], format="sentences")
    reader = source.reader()
    assert len(texts(list(reader.read(source.files("train"))))) == 1001
    assert reader.warnings == []


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda folder: folder / "nothing", {}, "no such file or folder"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", {}, "is an empty folder"),
        (
            lambda folder: write(folder / "a.txt", "one"),
            {},
            "does not tell where documents end; write data.format \\(test: --format\\): one of sentences",
        ),
        (
            lambda folder: write(folder / "a.jsonl", '{"x": "y"}\n'),
            {},
            r"has no text in column text \(data.column; its columns: x\)",
        ),
        (lambda folder: write(folder / "a.jsonl", "{\n"), {}, "not JSON"),
    ],
)
def test_bad_files_are_refused_with_their_place(
    tmp_path: Path, make: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(make(tmp_path), **options)


@pytest.mark.parametrize(
    "options",
    [{"format": "pdf"}, {"book_words": 0}, {"train": ""}, {"train": []}, {"encoding": "nothing"}, {"max_row_bytes": 0}],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        Documents(**{"train": "x", **options})


def test_a_run_of_full_stops_takes_no_time() -> None:
    started = time.perf_counter()
    assert len(list(sentences("." * 200_000 + "x"))) == 1
    assert time.perf_counter() - started < 5
