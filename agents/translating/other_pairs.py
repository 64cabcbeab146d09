"""Sources and pairs from other files than a run's own: for `generate`, and for `test --data`."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.running.given_text import one_record
from agents.running.other_rows import SKIP_OPTION, encodings_of, used_records
from agents.running.predictor import CHUNK, batches_of
from agents.translating.pair_corpus import PairCorpus
from agents.translating.pair_data import encode_pairs
from datasets.batches.pairs import PairBatch
from datasets.formats.data_files import FOLDERS, STDIN, check_exists
from datasets.formats.readers import ENDINGS, FORMATS, ending_of
from datasets.formats.rows import Layout, Row
from datasets.rows.records import Record
from datasets.sources.files import Files
from datasets.sources.parallel import ParallelFiles, parallel_rows
from datasets.tokenizers.processes import chunked
from utils.errors import ConfigError, DataError

KNOWN = [name for name in FORMATS if name not in FOLDERS and name != "labelled_lines"]


def source_rows(corpus: PairCorpus, path: Path, format: str = "auto", encoding: str | None = None) -> Iterator[Row]:
    """The rows of a file of sources: a table with the run's source column, or by default one source a line."""
    kind = _format(path, format) or "text"
    layout = _layout(corpus, kind, encoding)
    return FORMATS[kind](path, replace(layout, columns=corpus.fields[:1]) if kind == "text" else layout)


def pair_rows(
    corpus: PairCorpus, paths: Sequence[Path], format: str | None = None, encoding: str | None = None
) -> Iterator[Row]:
    """The rows of a table with both of the run's columns, or of two parallel files, the sources first."""
    kinds = [_format(path, format or "auto") for path in paths]
    if len(paths) == len(corpus.fields):
        for path, kind in zip(paths, kinds, strict=True):
            if kind not in (None, "text"):
                raise ConfigError(f"command line: --data twice takes files of one text a line, and {path} is {kind}")
        return parallel_rows(dict(zip(corpus.fields, paths, strict=True)), _layout(corpus, "text", encoding))
    if len(paths) != 1:
        raise ConfigError(f"command line: --data takes one table or two parallel files, got {len(paths)} files")
    (path,), (kind,) = paths, kinds
    first, second = corpus.fields
    if kind == "text":
        raise DataError(
            f"{path}: lines of text are one side of the pairs; give two files, --data {first} --data {second}"
        )
    if kind is None:
        raise DataError(f"{path}: the ending does not tell the format; write --format, one of {', '.join(KNOWN)}")
    return FORMATS[kind](path, _layout(corpus, kind, encoding))


def pair_records(
    corpus: PairCorpus,
    paths: Sequence[Path],
    format: str | None = None,
    encoding: str | None = None,
    on_bad_row: str | None = None,
) -> tuple[Iterator[Record], Callable[[], dict[str, Any]]]:
    """The test split, or the pairs of other files, and how many rows were read, used and skipped once all are taken."""
    if not paths:
        if "test" not in corpus.splits:
            raise ConfigError("this run has no test split (data.split, data.test); give files with --data")
        scan = corpus.scan()
        return corpus.records("test", scan.rows["test"]), lambda: dict(scan.report["test"])
    rows = pair_rows(corpus, paths, format, encoding)
    reader = corpus.reader(on_bad_row=on_bad_row or corpus.on_bad_row, skip_option=SKIP_OPTION, needs_id=False)
    return used_records(reader, rows, paths[0], "pairs"), reader.counts


def _format(path: Path, format: str) -> str | None:
    """The format by name or ending, None where neither tells. Raises ConfigError for an unknown one."""
    if format not in ("auto", *KNOWN):
        raise ConfigError(f"command line: --format must be one of auto, {', '.join(KNOWN)}, got {format!r}")
    if path is not STDIN:
        check_exists(path)
    return ENDINGS.get("" if path is STDIN else ending_of(path)) if format == "auto" else format


def _layout(corpus: PairCorpus, kind: str, encoding: str | None) -> Layout:
    """How the run's own files of this format are written, or else as is usual."""
    source = corpus.source
    layout = source.layout_of(kind) if isinstance(source, Files) else Layout()
    layout = source.layout if isinstance(source, ParallelFiles) and kind == "text" else layout
    return layout if encoding is None else replace(layout, encodings=encodings_of(encoding))


def given_pair(corpus: PairCorpus, source: Any, target: str) -> Record:
    """A pair given by hand. Raises DataError where it is none."""
    return one_record(corpus, dict(zip(corpus.fields, (source, target), strict=True)))


class StreamedPairs:
    """Pairs to measure a trained model on: only a chunk of them for each process is in memory."""

    def __init__(self, agent: Any, records: Iterator[Record]) -> None:
        """agent: the Seq2SeqAgent of the model."""
        self.agent, self.records = agent, records

    def eval_batches(self) -> Iterator[PairBatch]:
        """The batches of this process."""
        agent, worker = self.agent, self.agent.worker
        for number, chunk in itertools.islice(enumerate(chunked(self.records, CHUNK)), worker.rank, None, worker.size):
            examples: Any = encode_pairs(agent.corpus, agent.artifacts.tokenizer, chunk)
            batches: Iterator[Any] = batches_of(examples)
            for batch in batches:
                yield replace(batch, rows=batch.rows + number * CHUNK)  # what is drawn for a text depends on its row
