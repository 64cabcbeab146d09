"""Files that a run was not trained on: read as their own format is written, from a path, a pipe, a socket or standard input."""

import contextlib
import csv
import io
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from main import main

LATIN = """\
  train: latin.csv
  encoding: latin-1
  delimiter: ";"
"""
HEADERLESS = """\
  train: headerless.csv
  columns: [label, review]
  fields: [review]
"""
ROWS = [row | {"text": f"{row['text']} café"} for row in tiny_rows()]
TEXTS = [row["text"] for row in ROWS[:6]]


def write_csv(path: Path, rows: list[list[str]], encoding: str, delimiter: str = ",") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: `latin` of a CSV in Latin-1 with semicolons, `headerless` of one without a header line."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        header = ["title", "text", "label"]
        cells = [[row[name] for name in header] for row in ROWS]
        write_csv(folder / "latin.csv", [header, *cells], "latin-1", ";")
        write_csv(folder / "headerless.csv", [[row["label"], row["text"]] for row in ROWS], "utf-8")
        config = TINY_CONFIG.replace("num_epochs: 2", "num_epochs: 1")
        for name, lines in (("latin", LATIN), ("headerless", HEADERLESS)):
            text = config.replace("  train: tiny.jsonl\n", lines)
            if "review" in lines:
                text = text.replace("  fields: [title, text]\n", "")
            (folder / f"{name}.yaml").write_text(text)
            assert main([f"{name}.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def predicted(capsys: pytest.CaptureFixture[str], run: str, *words: str) -> list[dict[str, Any]]:
    """The lines of `predict`."""
    capsys.readouterr()
    code = main(["predict", f"experiments/{run}", *words])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert f"{len(out.splitlines())} predicted" in err or "--text" in words
    return [json.loads(line) for line in out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out == ""
    return err.splitlines()[-1]


def as_jsonl(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# Name, content, options: all hold "café".
FORMATS: dict[str, tuple[str, bytes, list[str]]] = {
    "JSON lines": ("x.jsonl", as_jsonl(ROWS[:6]), []),
    "CSV as in training": ("x.csv", b"title;text\n" + "".join(f"a;{text}\n" for text in TEXTS).encode("latin-1"), []),
    "TSV": ("x.tsv", b"title\ttext\n" + "".join(f"a\t{text}\n" for text in TEXTS).encode(), []),
    "TSV in Latin-1": (
        "x.tsv",
        b"title\ttext\n" + "".join(f"a\t{text}\n" for text in TEXTS).encode("latin-1"),
        ["--encoding", "latin-1"],
    ),
    "the second encoding fits": (
        "x.tsv",
        b"title\ttext\n" + "".join(f"a\t{text}\n" for text in TEXTS).encode("cp1252"),
        ["--encoding", "utf-8,cp1252"],
    ),
    "CSV as in training, in UTF-8": (
        "x.csv",
        b"title;text\n" + "".join(f"a;{text}\n" for text in TEXTS).encode(),
        ["--encoding", "utf-8"],
    ),
    "CSV by --format": (
        "x.rows",
        b"title;text\n" + "".join(f"a;{text}\n" for text in TEXTS).encode("latin-1"),
        ["--format", "csv"],
    ),
}


@pytest.mark.parametrize("is_stdin", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize("case", FORMATS)
def test_encoding_and_delimiter_belong_to_a_format(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str, is_stdin: bool
) -> None:
    name, content, options = FORMATS[case]
    (folder / name).write_bytes(content)
    if is_stdin:
        set_stdin(monkeypatch, content)
        options = options if "--format" in options else [*options, "--format", Path(name).suffix[1:]]
    lines = predicted(capsys, "latin", "--input", "-" if is_stdin else name, *options)
    assert [line["text"] for line in lines] == TEXTS


def test_a_test_on_json_reads_the_letters_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same rows, as JSON in UTF-8 and as CSV in Latin-1, give the same measures."""
    results = []
    (folder / "rows.jsonl").write_bytes(as_jsonl(ROWS))
    (folder / "rows.txt").write_bytes(as_jsonl(ROWS))
    for words in (["latin.csv"], ["rows.jsonl"], ["rows.txt", "--format", "jsonl", "--encoding", "utf-8"]):
        capsys.readouterr()
        assert main(["test", "experiments/latin", "--json", "--data", *words]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["data"]["used"] == len(ROWS)
    assert results[1] == results[2] == results[0]


def test_json_in_utf8_is_read_so_whatever_the_encoding_of_the_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One data.encoding for a CSV and for a JSON file beside it: the first one's letters are no reason to misread the other."""
    (folder / "valid.jsonl").write_bytes(as_jsonl(ROWS[:30]))
    write_jsonl(folder / "test.jsonl", ROWS[30:60])
    assert main(["latin.yaml", "name=mixed", "data.valid=valid.jsonl", "data.test=test.jsonl"]) == 0
    lines = Path("experiments/mixed/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [row["text"] for row in ROWS[30:60]]
    (folder / "old.jsonl").write_bytes(as_jsonl(ROWS[:6]).decode().encode("latin-1"))
    assert [line["text"] for line in predicted(capsys, "mixed", "--input", "old.jsonl")] == TEXTS


REFUSED = {
    "an unknown encoding": (2, "--encoding 'utf-99' is unknown", ["--input", "x.jsonl", "--encoding", "utf-99"]),
    "an encoding that is not the file's": (3, "bad.jsonl:1: not utf-8", ["--input", "bad.jsonl"]),
    "an encoding that an option gives": (3, "test: --encoding latin-1", ["--input", "bad.jsonl"]),
    "a folder as a stream": (2, "--format must be one of auto, csv", ["--input", "-", "--format", "folder"]),
    "a format": (2, "--format must be one of auto, csv", ["--input", "x.jsonl", "--format", "xml"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    code, message, words = REFUSED[case]
    (folder / "x.jsonl").write_bytes(as_jsonl(ROWS[:6]))
    (folder / "bad.jsonl").write_bytes(as_jsonl(ROWS[:6]).decode().encode("latin-1"))
    assert message in refused(capsys, code, "predict", "experiments/latin", *words)
    if "--input" in words and "-" not in words:
        assert message in refused(
            capsys, code, "test", "experiments/latin", *(word.replace("--input", "--data") for word in words)
        )


def test_options_of_a_file_need_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--format", "csv"], ["--encoding", "latin-1"]):
        assert "go with --data" in refused(capsys, 2, "test", "experiments/latin", *words)


# Standard input.


def opened(kind: str, folder: Path, content: bytes) -> TextIO:
    """A stream of this kind from which two lines have been taken."""
    path = folder / "taken.jsonl"
    if kind == "socket":
        ours, theirs = socket.socketpair()
        theirs.sendall(content)
        theirs.close()
        stream: TextIO = ours.makefile("r", encoding="utf-8")
    elif kind == "FIFO":
        path = folder / "taken.fifo"
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
        stream = path.open(encoding="utf-8")
    else:
        path.write_bytes(content)
        stream = path.open(encoding="utf-8")
    stream.buffer.readline()
    stream.buffer.readline()
    return stream


@pytest.mark.parametrize("kind", ["file", "FIFO", "socket"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_rows_of_standard_input_are_read_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setattr(sys, "stdin", opened(kind, folder, as_jsonl(ROWS[:6])))
    (folder / "stdin").write_text("a file of this name is not standard input")
    format = ["--format", "jsonl"] if name != "-" else []
    lines = predicted(capsys, "latin", "--input", name, *format)
    assert [line["text"] for line in lines] == TEXTS[2:]
    assert [line["id"] for line in lines] == ["stdin:1", "stdin:2", "stdin:3", "stdin:4"]


def test_standard_input_may_be_empty_but_not_closed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_stdin(monkeypatch, b"")
    assert predicted(capsys, "latin", "--input", "-") == []
    monkeypatch.setattr(sys, "__stdin__", None)
    line = refused(capsys, 3, "predict", "experiments/latin", "--input", "-")
    assert line == "stdin: is closed; give a file, or pipe the rows in"


def test_plain_text_on_standard_input_gets_a_hint(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_stdin(monkeypatch, b"a match\n")
    line = refused(capsys, 3, "predict", "experiments/latin", "--input", "-")
    assert line.startswith(
        "stdin:1: not JSON (Expecting value); for lines of plain text (runs with one field) write --format text; "
    )


# Files without a header line, and plain text.


HEADERLESS_FILES = {
    "without the label": "".join(f"{text}\n" for text in TEXTS),
    "with the label": "".join(f"chess,{text}\n" for text in TEXTS),
    "with a label that no training row has": "".join(f"poker,{text}\n" for text in TEXTS),
    "after a blank line": "\n" + "".join(f"{text}\n" for text in TEXTS),
}


@pytest.mark.parametrize("case", HEADERLESS_FILES)
def test_a_file_without_a_header_may_lack_the_label(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    (folder / "x.csv").write_text(HEADERLESS_FILES[case])
    assert [line["review"] for line in predicted(capsys, "headerless", "--input", "x.csv")] == TEXTS


def test_only_a_prediction_lacks_the_label_and_all_rows_are_alike(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "x.csv").write_text(HEADERLESS_FILES["without the label"])
    assert "x.csv:1: 1 columns instead of 2" in refused(capsys, 3, "test", "experiments/headerless", "--data", "x.csv")
    (folder / "y.csv").write_text("one text\nchess,and another\n")
    line = refused(capsys, 3, "predict", "experiments/headerless", "--input", "y.csv", "--output", "y.jsonl")
    assert "y.csv:2: 2 columns instead of 1" in line


@pytest.mark.parametrize("name", ["x.txt", "x.anything", "-"])
def test_plain_text_is_the_one_field_of_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = "".join(f"{text}\n" for text in TEXTS).encode()
    (folder / "x").with_suffix(Path(name).suffix).write_bytes(content)
    set_stdin(monkeypatch, content)
    lines = predicted(capsys, "headerless", "--input", name, *([] if name == "x.txt" else ["--format", "text"]))
    assert [line["review"] for line in lines] == TEXTS
    alone = load("experiments/headerless").predict(TEXTS)
    assert [line["predicted"] for line in lines] == [line["predicted"] for line in alone]
    assert "there is no column 'title'" in refused(
        capsys, 3, "predict", "experiments/latin", "--input", "x.txt", "--format", "text"
    )
