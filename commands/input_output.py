"""What several commands share: arguments, the texts that they are given, and where they write."""

import argparse
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from utils.files import strict_json

if TYPE_CHECKING:
    from agents.running.predictor import Predictor
    from datasets.rows.records import Record, RecordReader, Skipped
    from utils.distributed.worker import Worker

logger = logging.getLogger("glassbox")
STANDARD_INPUT, STANDARD_OUTPUT = ("-", "/dev/stdin", "/dev/fd/0"), ("-", "/dev/stdout", "/dev/fd/1")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where a trained run is computed."""
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
        help="skip: leave out an unusable row and count it (predict, generate and explain still write a line with its problem); "
        "default: error; for test: the run's data.on_bad_row",
    )


def check_text_alone(options: argparse.Namespace) -> None:
    """Raise ConfigError for options of files beside --text."""
    from utils.errors import ConfigError

    for name, is_given in {"format": options.format != "auto", "encoding": options.encoding is not None}.items():
        if is_given and options.text is not None:
            raise ConfigError(f"command line: --{name} goes with --input")


def text_of(given: str | None, fields: list[str]) -> str | dict[str, Any]:
    """Parse --text, if given: a JSON object of several fields, or else the last field's text as it is."""
    given = given or ""
    try:
        values = strict_json.parse(given) if len(fields) > 1 else given
    except ValueError:
        return given
    return values if isinstance(values, dict) and values else given


def records_of(
    options: argparse.Namespace, predictor: "Predictor", text: Any
) -> tuple[Iterator["Record | Skipped"], "RecordReader"]:
    """The records to predict, and their reader, which counts them."""
    from agents.running.other_rows import SKIP_OPTION, rows_of
    from datasets.formats.data_files import STDIN

    if options.text is not None:
        reader = predictor.reader(options.on_bad_row or "error")
        return reader.answers(predictor.rows([text])), reader
    path = STDIN if options.input in STANDARD_INPUT else Path(options.input)
    rows = rows_of(predictor, path, options.format, options.encoding, has_target=False)
    reader = predictor.reader(options.on_bad_row or "error", skip_option=SKIP_OPTION)
    return reader.answers(rows), reader


def is_file(name: str) -> bool:
    """Whether an output is a regular file, or will be; a device, a pipe or an open file is written directly."""
    path = Path(name)
    is_open = name in STANDARD_OUTPUT or name.startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return not is_open and (path.is_file() or not path.exists())


def beside_run(folder: str, name: str) -> Path:
    """Where what is made of a run belongs: in its folder, and of one of its checkpoints under the name of that, too.

    In the checkpoint's own folder it would be removed with it.
    """
    from agents.running.trained_run import run_folder

    path, run = Path(folder), run_folder(Path(folder))
    return run / (name if path == run else f"{name}-{path.name}")


def check_output(name: str, source: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for an output that would replace a file that is read or one of a run's own, or join a folder that is read.

    source: what is read, if anything; config: of the run, whose data is kept, too
    """
    path = Path(name)
    if name in STANDARD_OUTPUT or not is_file(name):
        return
    from utils.errors import ConfigError
    from utils.runs.experiment import run_of_file

    real = path.resolve()
    for other in [source, *(files_of(config) if config is not None else [])]:
        if other and path.exists() and Path(other).exists() and path.samefile(other):
            raise ConfigError(
                f"command line: --output {name} would replace {other}, which is read; choose another file"
            )
        if other and Path(other).is_dir() and Path(other).resolve() in real.parents:
            raise ConfigError(f"command line: --output {name} is in {other}, which is read; choose another folder")
    if path.exists() and (folder := run_of_file(path)) is not None:
        raise ConfigError(f"command line: --output {name} is a file of the run {folder}; choose another file")


def files_of(config: Mapping[str, Any]) -> list[str]:
    """The files and folders that a run has read, as its config names them: of its splits, and of word vectors."""
    found: list[str] = [(config.get("vectors") or {}).get("path") or ""]
    for key in ("train", "valid", "test", "folder"):
        value = config["data"].get(key) or []
        found += [value] if isinstance(value, str) else list(value.values() if isinstance(value, dict) else value)
    return found


def write_output(name: str, text: str) -> None:
    """Write a whole text to standard output, or to a file, a device or a pipe and say so; what is no UTF-8 is escaped."""
    with _output(name, errors="backslashreplace") as file:
        file.write(text)
    if name not in STANDARD_OUTPUT:
        logger.info("written: %s", name)


def output_file(name: str, worker: "Worker") -> contextlib.AbstractContextManager[TextIO | None]:
    """Where rank 0 writes; None on the others."""
    return _output(name) if worker.is_first else contextlib.nullcontext()


@contextlib.contextmanager
def _output(name: str, errors: str = "strict") -> Iterator[TextIO]:
    """Standard output, or a file that gets its name only when it is complete; a device or a pipe is written directly."""
    from utils.files.storage import beside, remove_leftovers, storage_errors, sync_folder

    if name in STANDARD_OUTPUT:
        yield sys.stdout
        return
    path = Path(name)
    with storage_errors(path):
        if not is_file(name):
            with path.open("a", encoding="utf-8", errors=errors) as file:
                yield file
            return
        target = Path(os.path.realpath(path))  # a link stays, and its target is replaced
        remove_leftovers(target.parent)
        with beside(target) as temporary:
            with temporary.open("w", encoding="utf-8", errors=errors) as file:
                if target.exists():
                    shutil.copymode(target, temporary)
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        sync_folder(target.parent)
