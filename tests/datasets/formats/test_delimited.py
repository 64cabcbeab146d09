"""Headers of any kind: only a column that is asked for may not be ambiguous."""

import gzip
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import tiny_rows
from corpora import reader_of
from refusals import refusal, trained

from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import Layout
from utils.errors import DataError

SPARE: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "Kaggle's spam.csv": ("v1,v2,,,\nham,Go,,,\nspam,Win, now,,\n", [("ham", "Go"), ("spam", "Win")]),
    "rows as long as the names": ("v1,v2,,,\nham,Go\nspam,Win,,\n", [("ham", "Go"), ("spam", "Win")]),
    "spare cells in the rows alone": ("v1,v2\nham,Go,,,\nspam,Win\n", [("ham", "Go"), ("spam", "Win")]),
    "an index without a name": (",v1,v2\n0,ham,Go\n1,spam,Win\n", [("ham", "Go"), ("spam", "Win")]),
    "blank names": ("v1, ,v2, \nham,,Go,\n", [("ham", "Go")]),
    "another column twice": ("a,v1,a,v2\n1,ham,2,Go\n", [("ham", "Go")]),
}


def read(path: Path, *, skips: bool = False, **layout: Any) -> list[tuple[str, str]]:
    """(label, text) of every record."""
    reader = reader_of(["v2"], label="v1", on_bad_row="skip" if skips else "error")
    records = reader.read(FORMATS[format_of(path)](path, Layout(**layout)))
    return [(record.labels[0], record.texts[0]) for record in records if record is not None]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz"])
@pytest.mark.parametrize("case", SPARE)
def test_columns_without_a_name_are_read_over(tmp_path: Path, case: str, name: str) -> None:
    text, expected = SPARE[case]
    data = (text.replace(",", "\t") if "tsv" in name else text).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(tmp_path / name) == expected


@pytest.mark.parametrize("row", ["ham", "ham,Go,,x", "ham,Go,,,x"])
def test_a_row_with_a_value_too_much_or_a_named_one_too_little_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "x.csv").write_text(f"v1,v2\n{row}\n")
    with pytest.raises(DataError, match=r"x.csv:2: \d columns instead of 2"):
        read(tmp_path / "x.csv")


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("header", ["v1,v2,v2", "v1,v2,v1", "v2,v1,v1,v1"])
def test_a_column_that_is_asked_for_stands_once(tmp_path: Path, header: str, skips: bool) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n{','.join('abcd'[: header.count(',') + 1])}\n")
    with pytest.raises(DataError, match=r"x.csv:1: the column 'v[12]' appears twice in the header"):
        read(tmp_path / "x.csv", skips=skips)


def test_parquet_may_repeat_a_column_that_nobody_asks_for(tmp_path: Path) -> None:
    columns = [pa.array(["ham"]), pa.array(["Go"]), pa.array([1]), pa.array([2])]
    for names in (["v1", "v2", "a", "a"], ["v1", "v2", "v2", "a"]):
        table = pa.Table.from_arrays([*columns[:2], columns[0], columns[0]], names=names)
        pyarrow.parquet.write_table(table, tmp_path / f"{names[2]}.parquet")
    assert read(tmp_path / "a.parquet") == [("ham", "Go")]
    with pytest.raises(DataError, match="the column 'v2' appears twice"):
        read(tmp_path / "v2.parquet")


def test_a_header_of_100_000_columns_takes_no_longer_than_its_cells(tmp_path: Path) -> None:
    seconds = {}
    for size in (10_000, 100_000):
        cells = ",".join(["c"] * (size // 2) + [f"c{i}" for i in range(size // 2)])
        (tmp_path / "x.csv").write_text(f"v1,v2,{cells}\nham,Go,{cells}\n")
        started = time.process_time()
        assert read(tmp_path / "x.csv") == [("ham", "Go")]
        with pytest.raises(DataError, match="no column 'nothing'"):
            list(reader_of(["nothing"], label=None).read(FORMATS["csv"](tmp_path / "x.csv", Layout())))
        seconds[size] = time.process_time() - started
    assert seconds[100_000] < 30 * max(seconds[10_000], 0.01)  # the square would be 100 times
    assert seconds[100_000] < 5


def test_a_run_on_spare_columns(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{row['label']},{row['text']},,,\n" for row in tiny_rows(40))
    (workplace / "x.csv").write_text("v1,v2,,,\n" + rows)
    options = ["data.train=x.csv", "data.fields=[v2]"]
    assert "there is no column 'label'" in refusal(capsys, *options)
    report = trained(capsys, *options, "data.label=v1")
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 40
