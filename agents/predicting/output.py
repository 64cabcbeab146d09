"""Lines of predictions as JSON lines, CSV or Parquet."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from agents.predicting.shaping import ShapedPredictor
from datasets.rows.predictions import texts_by_field
from datasets.rows.records import Record, Skipped
from datasets.tokenizers.processes import chunked
from utils.errors import ConfigError, printable
from utils.machine.streams import json_writer
from utils.machine.text_tables import cell

FORMATS = ("jsonl", "csv", "parquet")
# Endings of formats whose readers would find JSON lines.
OTHERS = ("gz", "bz2", "xz", "zst", "zip", "tsv", "xls", "xlsx", "ods", "html", "arrow", "feather")
ROW_GROUP = 8192  # rows of Parquet that are in memory at a time
NO_PARQUET = "command line: --output-format parquet needs the package pyarrow: pip install pyarrow"
Lines = Sequence[Mapping[str, Any]]
Chunk = list[Record | Skipped]


def format_of(given: str, output: str) -> str:
    """The format by --output-format, or by the ending of --output; JSON lines by default. Raises ConfigError."""
    ending = Path(output).suffix.lower().removeprefix(".")
    if given == "auto" and ending in OTHERS:
        raise ConfigError(
            f"command line: --output {output}: .{ending} cannot be written; .jsonl, .csv and .parquet can"
        )
    format = given if given != "auto" else ending if ending in FORMATS else "jsonl"
    if format == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise ConfigError(NO_PARQUET) from None
    return format


def columns_of(predictor: ShapedPredictor) -> dict[str, str]:
    """The columns of a table of predictions and their kinds: text, number, bool, list (of labels) or shares (by label)."""
    has_labels, shape = bool(predictor.artifacts.labels), predictor.shape
    predicted = "number" if not has_labels else "list" if predictor.config.data.multi_label else "text"
    texts = texts_by_field(predictor.corpus.fields, predictor.corpus.fields)
    kinds = (
        {"id": "text"} | {name: "shares" if name == "fields" else "text" for name in texts} | {"predicted": predicted}
    )
    kinds |= {"abstained": "text"} if shape.abstain_below is not None else {}
    kinds |= {"label_set": "list"} if shape.coverage is not None else {}
    return kinds | ({"probabilities": "shares"} if has_labels else {}) | {"truncated": "bool", "problem": "text"}


class Stream:
    """A stream that lines are written to directly; None for a rank that writes nothing."""

    def __init__(self, file: TextIO | None, format: str, columns: Iterable[str]) -> None:
        self.file, self.head = file, head(columns) if format == "csv" else ""
        self.text_of: Callable[[Lines], str] = lambda lines: ""
        if file is not None:
            self.text_of = csv_writer(columns, file) if format == "csv" else json_lines(file)

    def whole(self, chunks: Iterator[Chunk], see: Callable[[Lines], None]) -> tuple[int, Iterator[Chunk]]:
        """As `Partial.whole` for a file: nothing of a stream is complete yet."""
        self.write(self.head)
        return 0, chunks

    def write(self, text: str) -> None:
        """Write the lines of a chunk."""
        if self.file is not None:
            self.file.write(text)

    def finish(self) -> None:
        """Flush what is buffered."""
        if self.file is not None:
            self.file.flush()


def json_lines(stream: TextIO) -> Callable[[Lines], str]:
    """A function that makes JSON lines for a stream."""
    line_of = json_writer(stream)
    return lambda lines: "".join(map(line_of, lines))


def csv_writer(columns: Iterable[str], stream: TextIO) -> Callable[[Lines], str]:
    """A function that makes rows of CSV for a stream; a terminal gets printable characters only."""
    names, shown = list(columns), printable if stream.isatty() else str
    return lambda lines: csv_text([[shown(cell(line.get(name))) for name in names] for line in lines])


def head(columns: Iterable[str]) -> str:
    """The header of CSV."""
    return csv_text([[cell(name) for name in columns]])


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows of CSV (RFC 4180)."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def write_table(path: Path, lines: Iterator[dict[str, Any]], *, format: str, columns: Mapping[str, str]) -> None:
    """Write CSV or Parquet; only a row group is in memory."""
    if format == "parquet":
        _write_parquet(path, columns, lines)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        text_of = csv_writer(columns, file)
        file.write(head(columns))
        for chunk in chunked(lines, ROW_GROUP):
            file.write(text_of(chunk))


def _write_parquet(path: Path, columns: Mapping[str, str], lines: Iterator[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {
        "text": pyarrow.string(),
        "number": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "list": pyarrow.list_(pyarrow.string()),
        "shares": pyarrow.map_(pyarrow.string(), pyarrow.float64()),
    }
    types_of = {name: types[kind] for name, kind in columns.items()}
    if "fields" in types_of:
        types_of["fields"] = pyarrow.map_(pyarrow.string(), pyarrow.string())
    schema = pyarrow.schema(list(types_of.items()))
    with parquet.ParquetWriter(path, schema) as writer:
        for chunk in chunked(lines, ROW_GROUP):
            values = {
                name: [list(v.items()) if isinstance(v := line.get(name), dict) else v for line in chunk]
                for name in types_of
            }
            writer.write_table(pyarrow.table(values, schema=schema))
