"""The labelled records that a trained run is tested on: its own test split, or a file with the same columns."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agents.prediction import Predictor
from agents.text_data import data_key
from datasets.files import Files
from datasets.readers import FORMATS, Layout, Reader, check_file, format_of
from datasets.records import Record

logger = logging.getLogger("glassbox")


def labelled_records(predictor: Predictor, path: Path | None) -> tuple[Iterator[Record], Callable[[], dict[str, Any]]]:
    """Records, and a function that says how many rows were read, used and skipped once they are all taken."""
    corpus = predictor.corpus
    if path is None:
        _warn_of_other_data(predictor)
        scan = corpus.scan()
        return corpus.records("test", scan.rows["test"]), lambda: scan.report["test"]
    read, layout = reader_of(predictor, path)
    reader = corpus.reader()
    records = (record for record in reader.read(read(path, layout)) if record is not None)

    def counts() -> dict[str, Any]:
        skipped = dict(reader.skipped)
        return {"read": reader.num_read, "used": reader.num_read - sum(skipped.values()), "skipped": skipped}

    return records, counts


def _warn_of_other_data(predictor: Predictor) -> None:
    """The split is made of the files as they are now; of others than those of the training it may take texts that were learnt."""
    if data_key(predictor.config, predictor.tokenizer) != predictor.facts.get("data"):
        logger.warning(
            "warning: the data has changed since %s was trained: its test split may hold texts of the training",
            predictor.folder,
        )


def reader_of(predictor: Predictor, path: Path, name: str = "auto") -> tuple[Reader, Layout]:
    """How to read a file for a run: the format by name or ending, written as the run's training file where that was one."""
    predictor.worker.refuse_other_file(path)
    source = predictor.corpus.source
    layout = source.layout if isinstance(source, Files) else Layout()
    if name == "auto":
        is_same = isinstance(source, Files) and source.format != "auto" and path.suffix == source.paths["train"].suffix
        check_file(path, "folder" if path.is_dir() else "file")
        name = source.format if isinstance(source, Files) and is_same else format_of(path)
    return FORMATS[name], layout
