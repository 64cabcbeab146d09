"""Evaluate a trained run on its test split, or on another file with the same columns."""

import argparse
import sys
from pathlib import Path

from commands.input_output import add_device, add_reading

SUMMARY = "evaluate a trained run on its test split or another file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and the file."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bilstm")
    parser.add_argument(
        "--data",
        metavar="FILE",
        action="append",
        default=[],
        help="a file with the run's columns; given twice: parallel files of a run over text pairs; default: the run's test split",
    )
    add_reading(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Load the best weights, evaluate, print the result."""
    from agents.running.abilities import Predicts
    from agents.running.other_rows import check_format, labelled_records
    from agents.running.predictor import Predictor
    from utils.distributed.shutdown import together
    from utils.errors import ConfigError
    from utils.machine.streams import to_json
    from utils.runs.run_log import set_up_console
    from utils.runs.run_report import describe_counts, print_report

    with together() as worker:
        set_up_console(is_on=worker.is_first)
        if not options.data and (options.format != "auto" or options.encoding or options.on_bad_row):
            raise ConfigError("command line: --format, --encoding and --on-bad-row go with --data")
        predictor = Predictor(options.folder, options.device, worker)
        paths, reading = list(map(Path, options.data)), (options.format, options.encoding, options.on_bad_row)
        if isinstance(predictor.agent, Predicts):
            check_format(options.format)
            if len(paths) > 1:
                raise ConfigError(f"command line: this run tests one file with --data, got {len(paths)}")
            records, counts = labelled_records(predictor, paths[0] if paths else None, *reading)
            result = predictor.evaluate(records)
        else:
            for path in paths:
                worker.refuse_other_file(path)
            kind, encoding = (None if options.format == "auto" else options.format), options.encoding
            loader, counts = predictor.agent.test_data(
                paths, format=kind, encoding=encoding, on_bad_row=options.on_bad_row
            )
            result = predictor.measure(loader.eval_batches())
    if not worker.is_first:
        return
    if options.json:
        print(to_json(result | {"data": counts()}, sys.stdout), end="")
    else:
        print_report({"name": options.folder, "test": result})
        if (found := counts())["read"]:  # nothing, of documents that were split off those of training
            print(f"test: {describe_counts(found)}")
