"""Predict labels, or numbers, for texts with a trained run: a line each, in order, as in predictions.jsonl without gold."""

import argparse
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from commands.input_output import (
    STANDARD_INPUT,
    add_device,
    add_reading,
    check_output,
    check_text_alone,
    is_file,
    output_file,
    records_of,
    text_of,
)

if TYPE_CHECKING:
    from agents.predicting.output import Stream
    from agents.predicting.partial import Partial
    from agents.predicting.shaping import ShapedPredictor
    from utils.distributed.worker import Worker

SUMMARY = "predict labels, or numbers, for texts with a trained run"

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
    parser.add_argument(
        "--output-format",
        choices=["auto", "jsonl", "csv", "parquet"],
        default="auto",
        help="default: by the ending of --output, .csv or .parquet, else JSON lines",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a prediction that was killed: from FILE.partial, beside --output",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the work; default: 1")
    add_shape(parser)
    add_reading(parser)
    add_device(parser)


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Options of the answers of a classifier."""
    parser.add_argument("--top-k", type=int, metavar="K", help="the probabilities of the K most probable labels only")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="calibrated probabilities: divide the logits by the temperature that fits the validation split",
    )
    parser.add_argument(
        "--abstain-below", type=float, metavar="P", help="predict null where the predicted label is less probable"
    )
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="C",
        help="a set of labels that holds the right one with probability C, such as 0.9 (conformal, by the validation split)",
    )


def run(options: argparse.Namespace) -> None:
    """Stream texts through the model."""
    from agents.running.other_rows import check_format
    from utils.distributed.shutdown import together
    from utils.errors import DistributedError
    from utils.runs.run_log import set_up_console

    with together() as worker:
        set_up_console(is_on=worker.is_first)
        check_format(options.format, is_stream=options.input in STANDARD_INPUT)
        check_options(options)
        if options.input in STANDARD_INPUT and worker.size > 1:
            raise DistributedError("command line: --input - is read by one process; give a file, or leave torchrun out")
        if options.jobs > 1 and worker.size > 1:
            raise DistributedError("command line: --jobs goes without torchrun, which has started processes already")
        predict(options, worker)


def check_options(options: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not go together."""
    from agents.predicting.output import format_of
    from utils.errors import ConfigError

    check_text_alone(options)
    options.output_format = format_of(options.output_format, options.output)
    is_table, is_text = options.output_format != "jsonl", options.text is not None
    refused = {
        "--attention goes with --text": options.attention and not is_text,
        "--attention is written as JSON lines only": options.attention and is_table,
        "--jobs goes with --input": options.jobs > 1 and is_text,
        f"--jobs must be at least 1, got {options.jobs}": options.jobs < 1,
        "--resume goes with --input": options.resume and is_text,
        "--resume needs a file as --output": options.resume and not is_file(options.output),
        "Parquet needs a file as --output": options.output_format == "parquet" and not is_file(options.output),
    }
    for problem in (problem for problem, is_so in refused.items() if is_so):
        raise ConfigError(f"command line: {problem}")


def predict(options: argparse.Namespace, worker: "Worker") -> None:
    """Predict on all ranks, each a share of the texts; rank 0 writes all lines."""
    from agents.predicting.parallel import Jobs, chunks_of
    from agents.predicting.shaping import Shape, ShapedPredictor
    from utils.runs.run_report import describe_counts

    jobs, shape = Jobs(options.jobs), Shape(options.top_k, options.calibrate, options.abstain_below, options.coverage)
    predictor = ShapedPredictor(options.folder, options.device, worker, shape)
    check_output(options.output, options.input, predictor.config)
    text, counts = text_of(options.text, predictor.corpus.fields), Counter[str]()
    records, reader = records_of(options, predictor, text)
    with sink_of(options, predictor) as sink:
        number, chunks = sink.whole(chunks_of(records), lambda lines: counts.update(predictor.counts(lines)))
        if worker.size > 1:
            number = worker.gathered(number)[0]
            chunks = chunks if worker.is_first else itertools.islice(chunks, number, None)

        def made(lines: list[dict[str, Any]]) -> tuple[str, Counter[str]]:
            if options.attention and "problem" not in lines[0]:
                lines[0]["attention"] = predictor.attention(text)
            return sink.text_of(lines), predictor.counts(lines)

        for lines, found in jobs.map(predictor, made, chunks):
            sink.write(lines)
            counts.update(found)
        sink.finish()
    with worker.first_alone("output"):  # the other ranks wait until it is written
        pass
    read = [describe_counts(reader.counts(), "predicted")] if options.text is None else []
    for line in [*read, *predictor.describe(counts)]:
        logger.info("%s", line)


@contextlib.contextmanager
def sink_of(options: argparse.Namespace, predictor: "ShapedPredictor") -> Iterator["Stream | Partial"]:
    """Where rank 0 writes; the others write nothing."""
    from agents.predicting.output import Stream, columns_of, write_table
    from agents.predicting.partial import Partial

    columns, format, worker = columns_of(predictor), options.output_format, predictor.worker
    if not worker.is_first or not is_file(options.output):
        with output_file(options.output, worker) as file:
            yield Stream(file, format, columns)
        return
    convert = None if format == "jsonl" else partial(write_table, format=format, columns=columns)
    with Partial(options.output, predictor.facts, predictor.corpus.fields, convert, is_resumed=options.resume) as file:
        yield file
