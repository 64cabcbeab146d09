"""Compare experiments: a row for each config with its spread over seeds, what differs, and for each pair a paired test.

Runs that differ in the seed alone are one config. Only runs with the same test rows are compared: two named runs with others are
refused, and of a folder each set of rows gets a table of its own.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utils.analysis.comparing import Comparison
    from utils.analysis.finding import Found, Run

from commands.input_output import check_output, write_output

SUMMARY = "compare experiments: seeds, intervals, paired tests, only what differs"
FORMATS = ("table", "md", "csv", "latex", "html")

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, the metric and the form."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        default=["experiments"],
        help="folders of runs, or that hold runs; default: experiments",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="such as accuracy, macro_f1, loss or bleu; default: the runs' own"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    parser.add_argument("--output", metavar="FILE", default="-", help="output file; - (default) for standard output")
    parser.add_argument("--rows", action="store_true", help="for two runs: the test rows on which their answers differ")


def run(options: argparse.Namespace) -> None:
    """Find the runs, compare them and print it."""
    from utils.analysis.finding import find_runs
    from utils.errors import ConfigError
    from utils.runs.run_log import set_up_console
    from utils.runs.saved import saved_config

    set_up_console()
    if options.rows and (options.metric is not None or options.format != "table"):
        raise ConfigError("command line: --rows prints JSON lines; leave --metric and --format out")
    check_output(options.output)
    found = find_runs([Path(place) for place in options.runs])
    for run in found.runs if options.output != "-" else []:
        check_output(options.output, config=saved_config(run.folder))
    text = as_rows(found) if options.rows else as_tables(found, options.runs, options.metric, options.format)
    write_output(options.output, text)


def as_tables(found: "Found", places: Sequence[str], metric: str | None = None, form: str = "table") -> str:
    """All comparisons of what was found in some places, in the asked form; what was left out goes to the log, and into HTML."""
    from utils.analysis.finding import holds_runs, is_run
    from utils.analysis.html_report import as_html
    from utils.analysis.tables import FORMATS as WRITERS
    from utils.errors import CheckpointError

    has_folder = any(not is_run(Path(place)) and holds_runs(Path(place)) for place in places)
    comparisons = compared(found, metric, is_folder=has_folder) if found.runs else []
    notes = left_out(found)
    for note in notes if form != "html" else []:
        logger.info("%s", note)
    if not found.runs:
        raise CheckpointError(f"compare: no finished run in {', '.join(map(str, places))}")
    if form == "html":
        return as_html(comparisons, notes)
    return WRITERS[form](comparisons)


def compared(found: "Found", metric: str | None, *, is_folder: bool) -> list["Comparison"]:
    """A comparison for each set of test rows. Raises ConfigError for several of runs that were named one by one.

    Of a folder, runs whose predictions contradict their report are moved to those that cannot be read.
    """
    from utils.analysis.groups import by_rows, first_difference
    from utils.errors import ConfigError, counted

    sets = by_rows(found.runs)
    if len(sets) > 1 and not is_folder:
        one, other = sets[0][0], sets[1][0]
        raise ConfigError(
            f"compare: {one.folder} and {other.folder} were tested on different data ({first_difference(one, other)}), "
            "so their figures say nothing beside each other"
        )
    if len(sets) > 1:
        logger.info("%d sets of test rows, which are not compared with each other: a table each", len(sets))
    comparisons, failures = [], dict[str, ConfigError]()
    for members in sets:
        try:
            comparisons.append(_compared(members, found if is_folder else None, metric))
        except ConfigError as error:
            failures[f"{members[0].name} ({counted(len(members), 'run')})"] = error
    if not comparisons:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        logger.info("%s: %s", name, failure)
    return comparisons


def _compared(members: Sequence["Run"], found: "Found | None", metric: str | None) -> "Comparison":
    """The comparison of a set; with `found` those that contradict themselves are left out, as long as others are left."""
    from utils.analysis.comparing import ContradictionError, compare
    from utils.analysis.groups import chosen_metric

    try:
        return compare(members, chosen_metric(members, metric))
    except ContradictionError as error:
        if found is None or len(members) == 1:
            raise
        found.runs.remove(error.run)
        found.unreadable[str(error.run.folder)] = str(error)
        return _compared([run for run in members if run is not error.run], found, metric)


def left_out(found: "Found") -> list[str]:
    """A line for each folder that is not compared, and a count."""
    from utils.errors import counted

    notes = [f"{name}: unfinished ({reason}); not averaged" for name, reason in found.unfinished.items()]
    notes += [f"{name}: {reason}" for name, reason in found.repeated.items()]
    notes += [f"skipped: {reason}" for reason in found.unreadable.values()]
    if notes:
        counts = f"{len(found.runs)} compared, {len(found.unfinished)} unfinished, {len(found.unreadable)} skipped"
        counts += f", {len(found.repeated)} repeated" if found.repeated else ""
        notes.append(f"{counted(len(found.runs) + len(notes), 'folder')}: {counts}")
    return notes


def as_rows(found: "Found") -> str:
    """The disagreements of two runs. Raises ConfigError for any other number of them."""
    from utils.analysis.comparing import disagreements
    from utils.errors import ConfigError
    from utils.machine.streams import to_json

    for note in left_out(found):
        logger.info("%s", note)
    if len(found.runs) != 2:
        raise ConfigError(f"compare: --rows needs two finished runs, got {len(found.runs)}")
    rows = disagreements(*found.runs)
    logger.info("%d of %d rows are answered differently", len(rows), len(found.runs[0].lines))
    return "".join(to_json(row, sys.stdout) for row in rows)
