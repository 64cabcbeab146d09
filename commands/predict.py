"""Predict labels, or numbers, for texts with a trained run: one JSON line each, in order, as in predictions.jsonl without gold."""

import argparse
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from utils.files import strict_json
from utils.machine.streams import to_json

if TYPE_CHECKING:
    from utils.distributed.worker import Worker

SUMMARY = "predict labels, or numbers, for texts with a trained run"

STANDARD_INPUT, STANDARD_OUTPUT = ("-", "/dev/stdin", "/dev/fd/0"), ("-", "/dev/stdout", "/dev/fd/1")

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the source of the texts and the output."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bilstm")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input",
        metavar="FILE",
        help="texts with the run's columns, labels not needed; - for standard input, jsonl by default",
    )
    source.add_argument(
        "--text",
        help="""one text: the last field, or for several fields a JSON object, such as '{"title": "...", "text": "..."}'""",
    )
    parser.add_argument(
        "--attention", action="store_true", help="with --text: also its tokens and each layer's and head's attention"
    )
    parser.add_argument("--output", metavar="FILE", default="-", help="output file; - (default) for standard output")
    add_reading(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps or auto")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Options for reading a file other than the run's own."""
    formats = "csv, tsv, jsonl, parquet, text, labelled_lines, folder, file_per_class"
    parser.add_argument("--format", default="auto", help=f"{formats}; default: by the file's extension")
    parser.add_argument(
        "--encoding",
        help="text encoding, such as latin-1, or several to try: utf-8,latin-1; default: data.encoding for files of the "
        "training files' format, utf-8 for others",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=["error", "skip"],
        help="skip: count an unusable row, and predict null for it; default: error; for test: the run's data.on_bad_row",
    )


def run(options: argparse.Namespace) -> None:
    """Stream texts through the model."""
    from agents.running.other_rows import check_format
    from utils.distributed.shutdown import together
    from utils.errors import ConfigError, DistributedError
    from utils.runs.run_log import set_up_console

    with together() as worker:
        set_up_console(is_on=worker.is_first)
        check_format(options.format, is_stream=options.input in STANDARD_INPUT)
        if options.attention and options.text is None:
            raise ConfigError("command line: --attention goes with --text")
        if options.input in STANDARD_INPUT and worker.size > 1:
            raise DistributedError("command line: --input - is read by one process; give a file, or leave torchrun out")
        predict(options, worker)


def predict(options: argparse.Namespace, worker: "Worker") -> None:
    """Predict on all ranks, each a share of the texts; rank 0 writes all lines."""
    from agents.running.other_rows import SKIP_OPTION, rows_of
    from agents.running.predictor import Predictor
    from datasets.formats.data_files import STDIN
    from utils.runs.run_report import describe_counts

    predictor = Predictor(options.folder, options.device, worker)
    output = output_file(options.output, worker)
    if options.text is not None:
        text = text_of(options.text or "--" * isinstance(options.text, list), predictor.corpus.fields)
        lines = predictor.predict([text], on_bad_row=options.on_bad_row or "error")
        if options.attention:
            lines[0]["attention"] = predictor.attention(text)
        with output as file:
            _write(file, lines)
        return
    path = STDIN if options.input in STANDARD_INPUT else Path(options.input)
    rows = rows_of(predictor, path, options.format, options.encoding, has_target=False)
    reader = predictor.reader(options.on_bad_row or "error", skip_option=SKIP_OPTION)
    with output as file:
        _write(file, predictor.predict_records(reader.answers(rows)))
    with worker.first_alone("output"):  # the other ranks wait until it is written
        pass
    logger.info("%s", describe_counts(reader.counts(), "predicted"))


def text_of(given: str, fields: list[str]) -> str | dict[str, Any]:
    """Parse --text: a JSON object with some of several fields, or else the last field's text as it is."""
    try:
        values = strict_json.parse(given) if len(fields) > 1 else given
    except ValueError:
        return given
    return values if isinstance(values, dict) and values.keys() & set(fields) else given


def _write(file: TextIO | None, lines: Iterable[dict[str, Any]]) -> None:
    """file: None on ranks that do not write."""
    for line in lines:
        if file is not None:
            file.write(to_json(line, file))
    if file is not None:
        file.flush()


def output_file(name: str, worker: "Worker") -> contextlib.AbstractContextManager[TextIO | None]:
    """Where rank 0 writes; None on the others."""
    return _output(name) if worker.is_first else contextlib.nullcontext()


@contextlib.contextmanager
def _output(name: str) -> Iterator[TextIO]:
    """Standard output, or a file that gets its name only when it is complete; a device or a pipe is written directly."""
    from utils.files.storage import beside, remove_leftovers, storage_errors, sync_folder

    if name in STANDARD_OUTPUT:
        yield sys.stdout
        return
    path = Path(name)
    with storage_errors(path):
        if name.startswith(("/dev/std", "/dev/fd/", "/proc/")) or (path.exists() and not path.is_file()):
            with path.open("a", encoding="utf-8") as file:
                yield file
            return
        target = Path(os.path.realpath(path))  # a link stays, and its target is replaced
        remove_leftovers(target.parent)
        with beside(target) as temporary:
            with temporary.open("w", encoding="utf-8") as file:
                if target.exists():
                    shutil.copymode(target, temporary)
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        sync_folder(target.parent)
