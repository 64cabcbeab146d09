"""The records that a trained run is tested on or predicts: its own test split, or a file with the same columns."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.running.predictor import Predictor
from agents.running.text_data import data_key
from datasets.formats.data_files import FOLDERS, STDIN, check_exists
from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import Layout, Row
from datasets.rows.records import Record, RecordReader
from datasets.sources.files import Files, check_encodings
from utils.errors import ConfigError, DataError
from utils.runs.run_report import describe_counts

logger = logging.getLogger("glassbox")
SKIP_OPTION = "--on-bad-row skip"


def labelled_records(
    predictor: Predictor,
    path: Path | None,
    format: str = "auto",
    encoding: str | None = None,
    on_bad_row: str | None = None,
) -> tuple[Iterator[Record], Callable[[], dict[str, Any]]]:
    """Records, and a function that says how many rows were read, used and skipped once they are all taken."""
    corpus = predictor.corpus
    if path is None:
        return split_records(predictor, "test", "give a file with --data")
    rows = rows_of(predictor, path, format, encoding)
    reader = predictor.reader(on_bad_row or corpus.on_bad_row, skip_option=SKIP_OPTION, has_target=True)
    return used_records(reader, rows, path, "rows"), reader.counts


def split_records(
    predictor: Predictor, split: str, way_out: str
) -> tuple[Iterator[Record], Callable[[], dict[str, Any]]]:
    """The records of one of the run's own splits, and their counts. Raises ConfigError, with a way out, where there is none."""
    corpus = predictor.corpus
    if split not in corpus.splits:
        name = {"valid": "validation"}.get(split, split)
        raise ConfigError(f"{predictor.folder}: this run has no {name} split (data.split); {way_out}")
    warn_of_other_data(predictor, f"its {split} split may hold texts of the training")
    scan = corpus.scan()
    return corpus.records(split, scan.rows[split]), lambda: scan.report[split]


def used_records(reader: RecordReader, rows: Iterator[Row], path: Path, what: str) -> Iterator[Record]:
    """The records to test on. Raises DataError, after the last row, where there is none."""
    yield from filter(None, reader.read(rows))
    if not (counts := reader.counts())["used"]:
        raise DataError(f"{path}: has no {what} to test on; {describe_counts(counts, 'used')}")


def warn_of_other_data(predictor: Predictor, consequence: str) -> None:
    """Splits are made of the files as they are now: of others than those of the training they are others, too."""
    predictor.run.warn_of_other_data(present_data(predictor), f": {consequence}")


def present_data(predictor: Predictor) -> str:
    """The hash of the run's data as its files are now."""
    return data_key(predictor.config, predictor.corpus, predictor.artifacts.tokenizer)


def rows_of(
    predictor: Predictor, path: Path, format: str = "auto", encoding: str | None = None, *, has_target: bool = True
) -> Iterator[Row]:
    """The rows of a file: its format by name or ending, written as the run's own files of that format, or else as is usual.

    encoding: one or several separated by commas, instead of those of the run; has_target: False for texts to predict.
    """
    predictor.worker.refuse_other_file(path)
    corpus, source = predictor.corpus, predictor.corpus.source
    if path is STDIN:
        format = "jsonl" if format == "auto" else format
    elif format == "auto":
        check_exists(path)
        format = source.format_of(path) if isinstance(source, Files) else format_of(path)
    layout = source.layout_of(format) if isinstance(source, Files) else Layout()
    if encoding is not None:
        layout = replace(layout, encodings=encodings_of(encoding))
    if format == "text" and len(corpus.fields) == 1:
        layout = replace(layout, columns=corpus.fields)
    if not has_target:
        is_answer = partial(corpus.target.is_answer, labels=predictor.artifacts.labels)
        layout = replace(layout, optional=corpus.target.column, is_label=is_answer)
    return FORMATS[format](path, layout)


def encodings_of(given: str) -> list[str]:
    """The encodings of --encoding, separated by commas. Raises ConfigError for an unknown one."""
    try:
        return check_encodings(given.split(","))
    except ValueError as error:
        raise ConfigError(f"command line: --{error}") from None


def check_format(format: str, *, is_stream: bool = False) -> None:
    """Raise ConfigError for a --format that is unknown, or that is no stream of rows."""
    known = ["auto", *(name for name in FORMATS if not (is_stream and name in FOLDERS))]
    if format not in known:
        raise ConfigError(f"command line: --format must be one of {', '.join(known)}, got {format!r}")
