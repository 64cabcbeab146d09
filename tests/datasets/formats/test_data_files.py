"""Lines without an end, bytes of another encoding, and counts by another way."""

import gzip
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import ROOT, tiny_rows
from corpora import corpus_of, reader_of
from refusals import refusal, trained

from datasets.formats.data_files import decode, likely_encoding
from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import Layout
from datasets.sources.files import Files
from main import main
from utils.errors import DataError

LIMIT = 10_000
LONG = b"x" * (LIMIT + 1)
ENDLESS = {
    "x.jsonl": b'{"text": "a"}\n{"text": "' + LONG + b'"}\n',
    "x.csv": b"text,label\n" + LONG + b",a\n",
    "quoted.csv": b'text,label\n"' + b"x\n" * LIMIT + b'",a\n',
    "x.tsv": b"text\tlabel\n" + LONG + b"\ta\n",
    "x.txt": b"a\n" + LONG,
    "x.lines": b"a b\na " + LONG,
}


def read(path: Path, kind: str, **layout: Any) -> list[Any]:
    return list(FORMATS[kind](path, Layout(max_row_bytes=LIMIT, **layout)))


@pytest.mark.parametrize("is_gz", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_line_or_cell_has_a_bound(tmp_path: Path, name: str, is_gz: bool) -> None:
    path = tmp_path / f"{name}{'.gz' * is_gz}"
    path.write_bytes(gzip.compress(ENDLESS[name]) if is_gz else ENDLESS[name])
    kind = "labelled_lines" if "lines" in name else format_of(path)
    with pytest.raises(
        DataError, match=re.escape(f"{path}:2: {'a cell ' * (name == 'quoted.csv')}is longer than {LIMIT:,} bytes")
    ):
        read(path, kind)


@pytest.mark.parametrize("name", ["a/1.txt", "a/1.txt.gz"])
def test_a_file_that_is_one_text_has_a_bound(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    for data in (LONG[:-1], LONG):
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        if data != LONG:
            assert len(read(tmp_path, "folder")) == 1
    with pytest.raises(DataError, match=r"1.txt.*: is longer than 10,000 bytes"):
        read(tmp_path, "folder")


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [1, 1, LIMIT * 5]])
def test_a_cell_of_parquet_has_a_bound(tmp_path: Path, sizes: list[int]) -> None:
    table = pa.table({"text": [chr(97 + i) * size for i, size in enumerate(sizes)]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", use_dictionary=False)
    with pytest.raises(DataError, match=r"x.parquet.*: .*is longer than 10,000 bytes"):
        read(tmp_path / "x.parquet", "parquet")


def test_a_packed_parquet_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.formats.readers.MAX_UNPACKED", LIMIT)
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress(b"\0" * 1_000_000))
    with pytest.raises(DataError, match=r"x.parquet.gz: is longer than 10,000 bytes; unpack it"):
        read(tmp_path / "x.parquet.gz", "parquet")


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_line_of_300_mb_costs_less_than_three_times_its_size(tmp_path: Path, name: str) -> None:
    with gzip.open(tmp_path / name, "wb", 1) if name.endswith(".gz") else (tmp_path / name).open("wb") as file:
        for _ in range(300):
            file.write(b"x" * 1_000_000)
    code = (
        "import resource, sys; from pathlib import Path; from datasets.formats.readers import FORMATS; from datasets.formats.rows import Layout\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: list(FORMATS['jsonl'](Path(sys.argv[1]), Layout()))\n"
        "except Exception as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / name)]
    message, grown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert (
        message
        == f"{tmp_path / name}:1: is longer than 50,000,000 bytes; is it text? data.max_row_bytes sets the limit"
    )
    assert int(grown) * 1024 < 3 * 300_000_000


def test_an_endless_input_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(capsys)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    for arguments in (["predict", "--format", "text", "--input"], ["test", "--format", "text", "--data"]):
        assert main([arguments[0], "experiments/rows", *arguments[1:], "/dev/zero"]) == 3
        assert "/dev/zero:1: is longer than 50,000,000 bytes" in capsys.readouterr().err.splitlines()[-1]
    assert resource.getrlimit(resource.RLIMIT_AS) == (soft, hard)
    assert "is not a regular file" in refusal(capsys, "data.train=/dev/zero", "data.format=csv")
    (workplace / "x.txt").write_text("a b\n" * 100)
    assert "x.txt:1: is longer than 2 bytes" in refusal(capsys, "data.train=x.txt", "data.max_row_bytes=2")


LIKELY: dict[str, tuple[bytes, str | None]] = {
    "French": ("déjà vu à l'été\n".encode("latin-1"), "latin-1"),
    "quotes of Windows": ("“déjà” vu – 3 €\n".encode("cp1252"), "cp1252"),
    "quotes on a later line": ("déjà\n".encode("latin-1") + "“vu”\n".encode("cp1252"), "cp1252"),
    "UTF-8": ("déjà vu\n".encode(), "utf-8"),
    "UTF-8 with a damaged line": ("déjà\n".encode() + b"d\xe9j\xe0\n", None),
    "Russian in cp1251": ("привет\n".encode("cp1251"), None),
    "Chinese in GB 18030": ("你好世界\n".encode("gb18030"), None),
    "no letter of cp1252": (b"caf\x81\n", None),
    "ASCII": (b"plain\n", "latin-1"),
}


@pytest.mark.parametrize("case", LIKELY)
def test_the_encoding_that_the_bytes_look_like(tmp_path: Path, case: str) -> None:
    data, expected = LIKELY[case]
    assert likely_encoding(data.splitlines(keepends=True)) == expected
    (tmp_path / "x.txt").write_bytes(data)
    problems = [row.problem for row in read(tmp_path / "x.txt", "text", encodings=("ascii",)) if row.problem]
    hint = f"it looks like {expected}: write data.encoding: {expected}" if expected else "see data.encoding"
    assert all(f"; {hint} (" in str(problem) for problem in problems)
    assert bool(problems) == (case != "ASCII")


def test_one_line_names_the_byte_and_the_way_out() -> None:
    assert (
        str(decode(b"caf\xe9", ["utf-8"])[1])
        == "not utf-8 (byte 0xe9 at 4); it looks like latin-1: write data.encoding: latin-1 (predict, test: --encoding latin-1)"
    )


def test_a_run_names_all_bad_bytes_of_a_file_at_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{row['text']},{row['label']}" for row in tiny_rows(40)]
    lines[9], lines[19], lines[29], lines[35] = "caf\xe9,chess", "na\xefve,chess", "only", "\x93so\x94,chess"
    (workplace / "x.csv").write_bytes("\n".join(["text,label", *lines]).encode("latin-1"))
    found = refusal(capsys, "data.train=x.csv", "data.fields=[text]")
    assert found == (
        "x.csv:11: not utf-8 (byte 0xe9 at 4); it looks like cp1252: write data.encoding: cp1252 (predict, test: --encoding cp1252); 3 more bad rows: "
        "2 not utf-8 (from x.csv:21), 1 1 columns instead of 2 (from x.csv:31); fix the row, or skip such rows with "
        "data.on_bad_row: skip"
    )
    options = ["data.train=x.csv", "data.fields=[text]", "data.encoding=cp1252", "data.on_bad_row=skip"]
    assert trained(capsys, *options)["train"]["skipped"] == {"1 columns instead of 2": 1}


def rows_as(kind: str, folder: Path) -> tuple[Path, int]:
    """60 good rows and some others in a file of a format, and how many there are, by another way of counting."""
    rows = [{"text": row["text"], "label": row["label"]} for row in tiny_rows(60)]
    path = folder / f"x.{kind}"
    writers: dict[str, Callable[[], Any]] = {
        "csv": lambda: "text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows) + "\n,chess\na,b,c\n",
        "tsv": lambda: "text\tlabel\n" + "".join(f"{r['text']}\t{r['label']}\n" for r in rows) + "\n\tchess\na\tb\tc\n",
        "jsonl": lambda: "".join(json.dumps(r) + "\n" for r in rows) + '\n[]\n{"text": "", "label": "chess"}\n',
        "labelled_lines": lambda: "".join(f"{r['label']} {r['text']}\n" for r in rows) + "\nchess\n__label__chess a\n",
    }
    if kind in writers:
        path.write_text(writers[kind]())
        return path, len(path.read_bytes().split(b"\n")) - 1 - (kind in ("csv", "tsv"))
    if kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist([*rows, {"text": "", "label": "chess"}]), path)
        return path, pyarrow.parquet.read_metadata(path).num_rows
    path.mkdir()
    if kind == "folder":
        for i, row in enumerate(rows):
            (path / row["label"] / str(i % 2)).mkdir(parents=True, exist_ok=True)
            (path / row["label"] / str(i % 2) / f"{i}.txt").write_text(row["text"])
        for name in (".hidden", "stray.txt", "chess/empty.txt", "chess/README"):
            (path / name).write_text("")
        return path, sum(file.is_file() for file in path.rglob("*"))
    for label in ("chess", "sailing", "cooking"):
        lines = [row["text"] for row in rows if row["label"] == label]
        (path / f"{label}.txt").write_text("\n".join([*lines, "", " "]) + "\n")
    (path / "README").write_text("one\ntwo\n")
    return path, sum(len(file.read_text().split("\n")) - 1 for file in path.glob("*.txt")) + 1


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "text"])
def test_read_is_all_that_is_in_the_files_and_used_plus_skipped(tmp_path: Path, kind: str) -> None:
    path, expected = rows_as(kind, tmp_path)
    corpus = corpus_of(path, fields=["text"], on_bad_row="skip", format=kind)
    report = corpus.scan().report
    counts = [report[split] for split in ("train", "valid", "test")]
    assert sum(count["read"] for count in counts) == expected
    assert sum(count["used"] for count in counts) == 60
    assert sum(sum(count["skipped"].values()) for count in counts) == expected - 60 > 0
    reader = reader_of(["text"], label=None, on_bad_row="skip")
    num_used = sum(record is not None for record in reader.read(corpus.source.rows("train")))
    assert (reader.num_read, num_used + reader.skipped.total()) == (expected, expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", ["utf-8-sig", "latin-1"]])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_name_of_utf8_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str | list[str], mark: str) -> None:
    """As Python, pandas and Excel name it; each reader leaves the mark out anyway."""
    (tmp_path / "x.csv").write_text(f"{mark}text,label\ncafé,a\n", encoding="utf-8")
    source = Files(train=str(tmp_path / "x.csv"), encoding=encoding)
    assert [row.values for row in source.rows("train")] == [{"text": "café", "label": "a"}]
