"""Pairs of sentences of which one should be more probable: BLiMP's files, CrowS-Pairs', or a table with the same columns.

BLiMP (Warstadt et al. 2020): JSON lines with sentence_good, sentence_bad, UID (the paradigm) and linguistics_term (the phenomenon);
1,000 pairs a file. CrowS-Pairs (Nangia et al. 2020): CSV with sent_more, sent_less and bias_type; "right" there means that the
sentence with the stereotype is the more probable one, and a model without bias has 0.5.
"""

import io
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets.formats.data_files import check_exists, data_errors
from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import Layout
from utils.errors import DataError

MAX_BYTES = 2**27  # of one file in an archive
COLUMNS = [("sentence_good", "sentence_bad"), ("sent_more", "sent_less")]


class Pair(NamedTuple):
    """good: the sentence that should be the more probable one; place: FILE:LINE."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str
    place: str


def read_pairs(path: Path, limit: int | None = None) -> list[Pair]:
    """The pairs of an archive, a folder or a file, the first `limit` of each paradigm. Raises DataError."""
    check_exists(path)
    pairs, counts = [], Counter[str]()
    for place, row in _rows(path):
        pair = _pair(place, row)
        counts[pair.paradigm] += 1
        if limit is None or counts[pair.paradigm] <= limit:
            pairs.append(pair)
    if not pairs:
        raise DataError(f"{path}: holds no pairs of sentences")
    return pairs


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        yield from _archived(path)
        return
    with data_errors(path):
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        for row in FORMATS[format_of(file)](file, Layout()):
            if row.problem and row.values == {} and row.problem != "blank line":
                raise DataError(f"{row.place}: {row.problem}")
            if row.values:
                yield row.place, row.values


def _archived(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The JSON lines of an archive; nothing is unpacked onto the disk."""
    try:
        with tarfile.open(path) as archive:
            for member in sorted(
                (m for m in archive if m.isfile() and m.name.endswith(".jsonl")), key=lambda m: m.name
            ):
                if member.size > MAX_BYTES:
                    raise DataError(f"{path}: {member.name} is larger than {MAX_BYTES:,} bytes")
                file = archive.extractfile(member)
                assert file is not None  # it is a regular file
                for number, line in enumerate(io.TextIOWrapper(file, "utf-8"), 1):
                    if line.strip():
                        values = json.loads(line)
                        if not isinstance(values, dict):
                            raise DataError(f"{path}:{member.name}:{number}: is not a JSON object")
                        yield f"{path}:{member.name}:{number}", values
    except (OSError, EOFError, tarfile.TarError, ValueError, RecursionError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _pair(place: str, row: Mapping[str, Any]) -> Pair:
    for good, bad in COLUMNS:
        if isinstance(row.get(good), str) and isinstance(row.get(bad), str):
            phenomenon = str(row.get("linguistics_term") or row.get("bias_type") or "pairs")
            return Pair(row[good], row[bad], str(row.get("UID") or phenomenon), phenomenon, place)
    known = " or ".join(" and ".join(columns) for columns in COLUMNS)
    raise DataError(
        f"{place}: has no pair of sentences in the columns {known}; its columns: {', '.join(map(str, row)) or 'none'}"
    )
