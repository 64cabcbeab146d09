"""Readers of CSV, TSV, JSON lines, Parquet, plain text, and folders with a folder or a file per class, each also `.gz`.

A reader yields every row with its location; an unreadable row has a problem instead of values, and the caller raises an error
or counts it. No row is ever dropped here.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.formats.data_files import STDIN, read_bytes, text_lines, too_long
from datasets.formats.delimited import read_csv, read_tsv
from datasets.formats.folders import read_file_per_class, read_folder
from datasets.formats.rows import BLANK, Layout, Row
from utils.errors import ConfigError, DataError
from utils.files.strict_json import once_each

LABEL = "__label__"  # fastText's
MARKED = re.compile(rf"(?<!\S){LABEL}(\S+)\s*")
BEFORE_TAB, BEFORE_SPACE = (
    re.compile(pattern, re.DOTALL) for pattern in (r"[ \t]*([^\t]*?) *\t[ \t]*(.*)", r"[ \t]*([^ \t]*)[ \t]*(.*)")
)
MAX_UNPACKED = 2**28  # bytes of a gzipped Parquet file, which is decompressed in memory
BATCH_BYTES = 2**25  # of Parquet converted to rows at a time


def read_jsonl(path: Path, layout: Layout) -> Iterator[Row]:
    """JSON lines: one object per line, in UTF-8 (RFC 8259); other encodings are tried if a file is not UTF-8."""
    encodings = list(dict.fromkeys(["utf-8", *layout.encodings]))
    hint = "; for lines of plain text (runs with one field) write --format text" if path is STDIN else ""
    for number, line, problem in text_lines(path, replace(layout, encodings=encodings)):
        place = f"{path}:{number}"
        if problem or not line.strip():
            yield Row(place, {}, problem or BLANK)
            continue
        if number == 1 and (line.strip() == "[" or line.startswith(("[{", "[ {"))):
            raise DataError(f"{place}: is a JSON array; write one object per line, without commas between them")
        try:
            values = JSON.decode(line)
        except (ValueError, RecursionError) as error:
            yield Row(place, {}, f"not JSON ({getattr(error, 'msg', None) or error}){hint}")
            continue
        if isinstance(values, dict):
            yield Row(place, values)
        else:
            yield Row(place, {}, "not a JSON object")


JSON = json.JSONDecoder(object_pairs_hook=once_each)


def read_text(path: Path, layout: Layout) -> Iterator[Row]:
    """Plain text: every line is a row with one column, `text` unless the layout names it."""
    column = layout.columns[0] if layout.columns else "text"
    for number, line, problem in text_lines(path, layout):
        text = line.rstrip("\r\n")
        yield Row(f"{path}:{number}", {column: text}, problem or (None if text.strip() else BLANK))


def read_labelled_lines(path: Path, layout: Layout) -> Iterator[Row]:
    """Lines `LABEL TEXT`, `LABEL<tab>TEXT` or fastText's `__label__x __label__y TEXT`, as the first is; columns `label` and `text`.

    Before a tab a label may have spaces. In prediction, a file whose first line does not begin with a label of the run is plain
    text.
    """
    kind: re.Pattern[str] | str | None = None
    for row in read_text(path, replace(layout, columns=None)):
        kind = kind or (_kind_of(row.values["text"], layout) if row.problem is None else None)
        if row.problem is not None or kind == "text":
            yield row
        elif isinstance(kind, re.Pattern):
            yield _labelled(row, kind, layout)
        else:
            yield row._replace(values=_marked(row.values["text"]))


def _kind_of(line: str, layout: Layout) -> re.Pattern[str] | str:
    """How the lines of a file are written whose first is this one: "fastText", "text", or by the pattern."""
    if line.lstrip(" \t").startswith(LABEL):
        return "fastText"
    for pattern in (BEFORE_TAB, BEFORE_SPACE):
        found = pattern.fullmatch(line)
        if found is not None and (layout.is_label is None or layout.is_label(found[1])):
            return pattern
    return "text"


def _labelled(row: Row, pattern: re.Pattern[str], layout: Layout) -> Row:
    """A line's label and text. Raises DataError, in prediction, for a label that is not the run's."""
    if (found := pattern.fullmatch(row.values["text"])) is None:
        return Row(row.place, {}, "has no tab between its label and its text, unlike the first line")
    label, text = found.groups()
    if label.startswith(LABEL):
        return Row(row.place, {}, f"begins with {LABEL}, unlike the first line")
    if layout.is_label is None or layout.is_label(label):
        return row._replace(values={"label": label, "text": text})
    raise DataError(f"{row.place}: {label[:80]!r} is not a label of the run; if no line has one, write --format text")


def _marked(line: str) -> dict[str, Any]:
    """Parse a fastText line: its labels, anywhere in the line, and the remaining text."""
    labels = MARKED.findall(line)
    return {"label": labels if len(labels) > 1 else "".join(labels), "text": MARKED.sub("", line).strip()}


def read_parquet(path: Path, layout: Layout) -> Iterator[Row]:
    """Parquet, through the optional package pyarrow; the row number stands for the line number."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs the package pyarrow: pip install pyarrow") from None
    try:
        number = 0
        is_file = path is not STDIN and not path.name.endswith(".gz")
        file = parquet.ParquetFile(path if is_file else io.BytesIO(read_bytes(path, MAX_UNPACKED, "unpack it")))
        names = Counter(file.schema_arrow.names)
        once = [i for i, name in enumerate(file.schema_arrow.names) if names[name] == 1]
        twice = [name for name, count in names.items() if count > 1]
        for batch in file.iter_batches(batch_size=_rows_at_a_time(file.metadata, path, layout)):
            is_large = batch.nbytes > layout.max_row_bytes
            for values in (batch.select(once) if twice else batch).to_pylist():
                number += 1
                if is_large and sum(len(str(value)) for value in values.values()) > layout.max_row_bytes:
                    raise DataError(f"{path}:{number}: {too_long(layout.max_row_bytes)}")
                yield Row(f"{path}:{number}", values, None, str(path), twice)
    except (OSError, ValueError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _rows_at_a_time(metadata: Any, path: Path, layout: Layout) -> int:
    """Number of rows that fit BATCH_BYTES. Raises DataError if rows are too long according to the file's metadata."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    mean = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    if mean > layout.max_row_bytes:
        raise DataError(f"{path}: a row {too_long(layout.max_row_bytes)}")
    return max(1, min(1000, BATCH_BYTES // max(mean, 1)))


Reader = Callable[[Path, Layout], Iterator[Row]]
FORMATS: dict[str, Reader] = {
    "csv": read_csv,
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "text": read_text,
    "labelled_lines": read_labelled_lines,
    "folder": read_folder,
    "file_per_class": read_file_per_class,
}
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "text"}


def format_of(path: Path) -> str:
    """Format by file extension, ignoring `.gz`. Raises DataError for an unknown extension."""
    if path.is_dir():
        return "folder"
    ending = ending_of(path)
    if ending not in ENDINGS:
        option = f"data.format (predict, test: --format): one of {', '.join(FORMATS)}"
        raise DataError(f"{path}: the ending {ending or '(none)'} does not tell the format; write {option}")
    return ENDINGS[ending]


def ending_of(path: Path) -> str:
    """File extension without `.gz`, in lower case: .csv for x.CSV.gz."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()
