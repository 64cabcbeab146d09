"""Every bad row and file of the failure catalogue (section D, 1 to 60): refused with its place, skipped and counted, or accepted.

R: refused, whatever data.on_bad_row says. K: refused by default, counted under `skip`. A: accepted, and what it means.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_rows
from refusals import CSV, JSON, refusal, trained

from agents import checked_config
from agents.running.building import build_corpus

SPLITS = ("train", "valid", "test")
ROWS = tiny_rows(30)
TSV = CSV.replace(b",", b"\t")
NO_JSON = "not JSON"

# name: (file, content, the refusal's last line begins with)
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "D4 a JSON array": ("x.jsonl", json.dumps(ROWS).encode(), "x.jsonl:1: is a JSON array; write one object per line"),
    "D4 a JSON array over lines": ("x.jsonl", json.dumps(ROWS, indent=1).encode(), "x.jsonl:1: is a JSON array"),
    "D5 a single object": ("x.jsonl", json.dumps(ROWS[0]).encode(), "x.jsonl: has no rows left for valid; 1 rows were read"),
    "D22 UTF-16": ("x.jsonl", JSON.decode().encode("utf-16"), "x.jsonl: looks like UTF-16; convert it to UTF-8"),
    "D22 UTF-16 without its mark": ("x.csv", CSV.decode().encode("utf-16-le"), "x.csv:1: a NUL byte"),
    "D24 lone carriage returns": ("x.jsonl", JSON.replace(b"\n", b"\r"), "x.jsonl:1: its lines end in a carriage return alone"),
    "D24 lone carriage returns, CSV": ("x.csv", CSV.replace(b"\n", b"\r"), "x.csv:1: its lines end in a carriage return alone"),
    "D25 gzip by another name": ("x.jsonl", gzip.compress(JSON), "x.jsonl: looks like gzip; give it a name that ends in .gz"),
    "D25 a gzip cut off": ("x.csv.gz", gzip.compress(CSV)[:200], "x.csv.gz: cannot be read: Compressed file ended"),
    "D30 a quote never closed": ("x.csv", CSV + b'a,"b,chess\n' + CSV, "x.csv:32: not CSV (unexpected end of data)"),
    "D35 a column twice": ("x.csv", CSV.replace(b"title", b"text", 1), "x.csv:1: the column 'text' appears twice in the header"),
    "D36 no header": ("x.csv", CSV.partition(b"\n")[2], "x.csv:1: there is no column 'title'; there are 'boil the rice'"),
    "D36 another header": ("x.csv", CSV.replace(b"text", b"body", 1), "x.csv:1: there is no column 'text'; there are 'title', 'body'"),
    "D38 header in capitals": ("x.csv", CSV.replace(b"text", b"TEXT", 1), "x.csv:1: there is no column 'text'; did you mean 'TEXT'?"),
    "D38 header with a space": ("x.csv", CSV.replace(b"text", b" text", 1), "x.csv:1: there is no column 'text'; did you mean ' text'?"),
    "D39 wrong delimiter": ("x.csv", TSV, 'x.csv:1: there is no column \'title\'; the file has one column, is data.delimiter "\\t"?'),
    "D42 only a header": ("x.csv", CSV.partition(b"\n")[0] + b"\n", "x.csv: has no rows left for train; 0 rows were read"),
    "D43 semicolons": ("x.csv", CSV.replace(b",", b";"), 'x.csv:1: there is no column \'title\'; the file has one column, is data.delimiter ";"?'),
}  # fmt: skip


def line(**changes: Any) -> bytes:
    return json.dumps({"title": "a", "text": "b", "label": "chess"} | changes).encode() + b"\n"


# name: (file, content, the line refused, what is refused there, what is skipped)
SKIPPED: dict[str, tuple[str, bytes, int, str, dict[str, int]]] = {
    "D1 a last line cut off": ("x.jsonl", JSON + line()[:-9], 31, NO_JSON, {NO_JSON: 1}),
    "D2 a line of garbage": ("x.jsonl", b"%&/\n" + JSON, 1, NO_JSON, {NO_JSON: 1}),
    "D6 number, text and null": ("x.jsonl", JSON + b'3\n"a"\nnull\n', 31, "not a JSON object", {"not a JSON object": 3}),
    "D7 text missing": ("x.jsonl", JSON + b'{"title": "a", "label": "chess"}\n', 31, "no text in 'text'", {"no text in 'text'": 1}),
    "D9 text a number": ("x.jsonl", JSON + line(text=3), 31, "'text' is int, not text", {"'text' is int, not text": 1}),
    "D10 text a list": ("x.jsonl", JSON + line(text=["a"]), 31, "'text' is list, not text", {"'text' is list, not text": 1}),
    "D11 label missing": ("x.jsonl", JSON + b'{"title": "a", "text": "b"}\n', 31, "no label in 'label'", {"no label in 'label'": 1}),
    "D11 label empty": ("x.csv", CSV + b"a,b,\n", 32, "no label in 'label'", {"no label in 'label'": 1}),
    "D12 label not a number": ("x.jsonl", JSON + line(label=float("nan")), 31, "no label in 'label'", {"no label in 'label'": 1}),
    "D13 label an object": ("x.jsonl", JSON + line(label={"a": 1}), 31, "the label in 'label' is dict, not text or a number", {"the label in 'label' is dict, not text or a number": 1}),
    "D14 label a list": ("x.jsonl", JSON + line(label=["a"]), 31, "the label in 'label' is a list; write data.multi_label: true", {"the label in 'label' is a list": 1}),
    "D15 a key twice": ("x.jsonl", JSON + b'{"text": "a", "text": "b"}\n', 31, "not JSON (a key appears twice)", {NO_JSON: 1}),
    "D16 NaN as text": ("x.jsonl", JSON + line(text=float("nan")), 31, "'text' is float", {"'text' is float, not text": 1}),
    "D17 5,000 digits": ("x.jsonl", JSON + b'{"text": ' + b"1" * 5000 + b"}\n", 31, NO_JSON, {NO_JSON: 1}),
    "D18 100,000 brackets": ("x.jsonl", JSON + b"[" * 100_000 + b"\n", 31, NO_JSON, {NO_JSON: 1}),
    "D19 half a surrogate pair": ("x.jsonl", JSON + line(text="\ud800"), 31, "half of a surrogate pair", {"half of a surrogate pair, which is not text": 1}),
    "D26 a trailing comma": ("x.jsonl", JSON + b'{"text": "a",}\n', 31, NO_JSON, {NO_JSON: 1}),
    "D27 single quotes": ("x.jsonl", JSON + b"{'text': 'a'}\n", 31, NO_JSON, {NO_JSON: 1}),
    "D28 two objects in a line": ("x.jsonl", JSON + line()[:-1] + line(), 31, NO_JSON, {NO_JSON: 1}),
    "D30 a stray quote": ("x.csv", CSV + b'a,"b"c,chess\na,b,chess\n', 32, "not CSV", {"not CSV": 1}),
    "D33 a short row": ("x.csv", CSV + b"a,b\n", 32, "2 columns instead of 3", {"2 columns instead of 3": 1}),
    "D34 a long row": ("x.csv", CSV + b"a,b,c,d\n", 32, "4 columns instead of 3", {"4 columns instead of 3": 1}),
    "D41 a NUL byte": ("x.csv", CSV + b"a,b\0,chess\n", 32, "a NUL byte", {"a NUL byte, which no text has": 1}),
    "D44 a tab in a text": ("x.tsv", TSV + b"a\tb\tb\tchess\n", 32, "4 columns instead of 3", {"4 columns instead of 3": 1}),
    "D48 a Latin-1 byte": ("x.csv", CSV + b"a,caf\xe9,chess\n", 32, "not utf-8 (byte 0xe9 at 6)", {"not utf-8": 1}),
    "D49 two encodings": ("x.csv", CSV + "a,é,chess\n".encode() + b"a,\xe9,chess\n", 33, "not utf-8 (byte 0xe9 at 3)", {"not utf-8": 1}),
    "D50 overlong UTF-8": ("x.csv", CSV + b"a,\xc0\xaf,chess\n", 32, "not utf-8 (byte 0xc0 at 3)", {"not utf-8": 1}),
    "D50 a surrogate in UTF-8": ("x.csv", CSV + b"a,\xed\xa0\x80,chess\n", 32, "not utf-8 (byte 0xed at 3)", {"not utf-8": 1}),
    "D51 empty texts": ("x.csv", CSV + b",,chess\n", 32, "no text", {"no text": 1}),
    "D52 spaces only": ("x.csv", CSV + b" ,\t ,chess\n", 32, "no text", {"no text": 1}),
}  # fmt: skip

# name: (file, content, the text of the last row)
ACCEPTED: dict[str, tuple[str, bytes, str]] = {
    "D3 blank lines": ("x.jsonl", b"\n" + JSON + b" \n" + line() + b"\n", "b"),  # counted, and never an error
    "D8 text null": ("x.jsonl", JSON + line(title=None), "b"),  # as an empty cell of CSV
    "D16 NaN in a column that nobody reads": ("x.jsonl", JSON + line(score=float("nan")), "b"),  # unlike the catalogue: it harms none
    "D20 line ends of Unicode": ("x.jsonl", JSON + json.dumps({"title": "a", "text": "1\u20282\x853\x1c", "label": "chess"}, ensure_ascii=False).encode(), "1\u20282\x853\x1c"),
    "D21 byte order mark": ("x.jsonl", b"\xef\xbb\xbf" + JSON + line(), "b"),
    "D23 CRLF": ("x.jsonl", (JSON + line()).replace(b"\n", b"\r\n"), "b"),
    "D29 other keys": ("x.jsonl", JSON + line(more={"a": [1]}), "b"),
    "D30 a stray quote in TSV": ("x.tsv", TSV + b'a\t"b\tchess\n', '"b'),  # TSV has no quotes, so none can join lines
    "D31 a quote inside": ("x.csv", CSV + b'a,5" disk,chess\n', '5" disk'),
    "D32 a line end in quotes": ("x.csv", CSV + b'a,"1\n2",chess\n', "1\n2"),
    "D37 header with a mark": ("x.csv", b"\xef\xbb\xbf" + CSV + b"a,b,chess\n", "b"),
    "D40 200,000 letters in a cell": ("x.csv", CSV + b"a," + b"x" * 200_000 + b",chess\n", "x" * 200_000),
    "D45 a number as text": ("x.csv", CSV + b"a,001,chess\n", "001"),
    "D46 NA, null and None": ("x.csv", CSV + b"NA,null,chess\nNA,None,chess\n", "None"),
    "D47 backslashes": ("x.csv", CSV + b"a,\\n\\,chess\n", "\\n\\"),
    "D54 a text of 10 MB": ("x.jsonl", JSON + line(text="word " * 2_000_000), "word " * 2_000_000),
    "D55 a word of 1 MB": ("x.jsonl", JSON + line(text="x" * 1_000_000), "x" * 1_000_000),
    "D56 emoji, joiners, marks": ("x.jsonl", JSON + line(text="👩\u200d🚀 e\u0301"), "👩\u200d🚀 e\u0301"),
    "D57 right to left": ("x.jsonl", JSON + line(text="\u202bשלום\u202c"), "\u202bשלום\u202c"),
    "D58 control signs": ("x.jsonl", JSON + line(text="a\x1b[2J\x07\0"), "a\x1b[2J\x07\0"),  # as an escape a NUL is meant
    "D59 decomposed letters": ("x.jsonl", JSON + line(text="cafe\u0301"), "cafe\u0301"),  # kept; not the word café
}  # fmt: skip


def write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return f"data.train={name}"


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_where_it_cannot_be_meant(
    workplace: Path, capsys: pytest.CaptureFixture[str], case: str, on_bad_row: str
) -> None:
    name, content, message = REFUSED[case]
    found = refusal(capsys, write(workplace, name, content), f"data.on_bad_row={on_bad_row}")
    assert found.startswith(message)


@pytest.mark.parametrize("case", SKIPPED)
def test_a_row_is_refused_with_its_line_or_skipped_and_counted(
    workplace: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, content, number, message, skipped = SKIPPED[case]
    override = write(workplace, name, content)
    found = refusal(capsys, override)
    assert found.startswith(f"{name}:{number}: {message}")
    assert found.endswith("fix the row, or skip such rows with data.on_bad_row: skip")
    report = trained(capsys, override, "data.on_bad_row=skip")
    assert report["train"]["skipped"] == skipped
    assert sum(report[split]["used"] for split in SPLITS) >= 30


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_row_is_accepted_as_it_is_and_trained_and_tested_on(
    workplace: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, content, text = ACCEPTED[case]
    override = write(workplace, name, content)
    corpus = build_corpus(checked_config("tiny.yaml", [override]))
    scan = corpus.scan()
    records = [r for split, numbers in scan.rows.items() for r in corpus.records(split, numbers)]
    assert len(records) >= 31
    assert sum(record.texts[1] == text for record in records) == 1
    report = trained(capsys, override, f"data.test={name}", "data.max_length=1000")
    assert set(report["train"]["skipped"]) <= {"blank line"}
    lines = [json.loads(line) for line in Path("experiments/rows/predictions.jsonl").read_text().split("\n")[:-1]]
    (line,) = (line for line in lines if line["text"] == text)
    assert line["truncated"] == (case == "D54 a text of 10 MB")
    assert report["truncated"]["test"] == (1 / len(lines) if line["truncated"] else 0)
