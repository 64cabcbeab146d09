r"""Audit a trained classifier on a file: metrics by group with their gaps, term swaps, small changes that should change nothing.

    python main.py audit experiments/toxicity --data comments.csv --columns text=comment,label=toxic --map True=1,False=0 \
        --positive 1 --groups gender,age --swaps swaps.yaml

It writes report.md, report.html and audit.json to a new folder. docs/auditing.md says what the figures mean and what they do not.
"""

import argparse
import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.input_output import add_device, add_reading, beside_run

if TYPE_CHECKING:
    from agents.auditing.audited_file import AuditedFile, Reading
    from agents.auditing.behaviour import Behaviour
    from agents.auditing.groups import Grouping
    from agents.auditing.report import Audit
    from agents.auditing.terms import Swap

SUMMARY = "audit a trained classifier: groups, term swaps, small changes"
SAMPLE = 2000
logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the file, its columns and labels, and what is audited."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bilstm")
    parser.add_argument("--data", metavar="FILE", required=True, help="texts to audit on; labels are not needed")
    parser.add_argument(
        "--columns",
        metavar="A=B",
        action="append",
        default=[],
        help="columns of the file for those of the run: text=Sentence,label=Emotion,id=ID; text is the run's last field",
    )
    parser.add_argument(
        "--map",
        metavar="A=B",
        action="append",
        default=[],
        help="labels of the file for those of the run: BAD=1,GOOD=0",
    )
    parser.add_argument(
        "--positive",
        metavar="LABEL",
        action="append",
        default=[],
        help="the label of interest, for error rates and changes of probability; several count as one label",
    )
    parser.add_argument("--groups", metavar="COLUMN", action="append", default=[], help="columns of groups: gender,age")
    parser.add_argument("--group-terms", metavar="FILE.yaml", help="groups by terms in the text: {women: [she, woman]}")
    parser.add_argument("--swaps", metavar="FILE.yaml", help="terms to exchange: {gender: [[he, she], [man, woman]]}")
    parser.add_argument(
        "--pairs-with",
        metavar="FILE",
        action="append",
        default=[],
        help="the same rows with other texts, in the same order",
    )
    parser.add_argument("--sample", metavar="N", type=int, default=SAMPLE, help=f"texts to change; default: {SAMPLE}")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for the sample, the changes and the intervals; default: 0"
    )
    parser.add_argument("--out", metavar="FOLDER", help="output folder, which must not exist; default RUN/audit-FILE")
    add_reading(parser)
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Audit, and write the report."""
    from agents.auditing.report import as_terminal
    from agents.running.other_rows import check_format
    from utils.errors import ConfigError
    from utils.files.storage import refuse_existing
    from utils.runs.run_log import set_up_console

    set_up_console()
    check_format(options.format)
    for name, least in (("sample", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise ConfigError(f"command line: --{name} must be at least {least}, got {getattr(options, name)}")
    out = Path(options.out or beside_run(options.folder, f"audit-{Path(options.data).name.partition('.')[0]}"))
    refuse_existing(out)
    found = audit(options)
    write(found, out)
    print(as_terminal(found))
    print(f"{out}: report.html, report.md, audit.json")


def audit(options: argparse.Namespace) -> "Audit":
    """Read what the options name, ask the run, and gather the results."""
    from agents.auditing.answers import Judge
    from agents.auditing.audited_file import read_audited
    from agents.auditing.behaviour import Behaviour
    from agents.auditing.terms import read_groups, read_swaps
    from agents.running.predictor import Predictor
    from utils.runs.run_report import describe_counts

    swaps = read_swaps(Path(options.swaps)) if options.swaps else []
    terms = read_groups(Path(options.group_terms)) if options.group_terms else {}
    reading = reading_of(options)
    predictor = Predictor(options.folder, options.device)
    judge = Judge(predictor, listed(options.positive))
    file = read_audited(predictor, Path(options.data), reading, listed(options.groups))
    others = [read_audited(predictor, Path(path), reading) for path in options.pairs_with]
    for each in (file, *others):
        if each.counts["skipped"]:
            logger.info("%s: %s", each.path, describe_counts(each.counts, "audited"))
    return results(options, Behaviour(judge, file.records, options.seed), file, others, swaps, terms)


def reading_of(options: argparse.Namespace) -> "Reading":
    """How the options say that files are read. Raises ConfigError."""
    from agents.auditing.audited_file import Reading

    columns, labels = pairs_of(options.columns, "--columns"), pairs_of(options.map, "--map")
    return Reading(columns, labels, options.format, options.encoding, options.on_bad_row or "error")


def results(
    options: argparse.Namespace,
    whole: "Behaviour",
    file: "AuditedFile",
    others: "Sequence[AuditedFile]",
    swaps: "Sequence[Swap]",
    terms: dict[str, list[str]],
) -> "Audit":
    """All parts of the audit: groups and paired texts of the whole file, changes of a sample of it."""
    from agents.auditing.behaviour import compare_files
    from agents.auditing.report import Audit

    sample = whole.sampled(options.sample)
    return Audit(
        run=options.folder,
        data=options.data,
        positive=whole.judge.positive,
        counts=file.counts,
        groupings=by_all_groups(whole, file, terms),
        swaps=[sample.swap(swap) for swap in swaps],
        pairs=[compare_files(whole, file, other) for other in others],
        tests=[*sample.invariance(), *sample.direction()],
        num_sampled=len(sample.records),
        unknown=unknown_of(whole, swaps, terms),
    )


def unknown_of(
    whole: "Behaviour", swaps: "Sequence[Swap]", terms: dict[str, list[str]]
) -> dict[str, tuple[list[str], int]]:
    """{name of a swap, or `groups`: (its terms that the run does not know, the number of all)}."""
    from agents.auditing.terms import unknown_terms

    groups = {"groups": [term for own in terms.values() for term in own]} if terms else {}
    lists = {swap.name: list(swap.place) for swap in swaps} | groups
    tokenizer = whole.judge.predictor.artifacts.tokenizer
    return {name: (unknown_terms(tokenizer, own), len(own)) for name, own in lists.items()}


def by_all_groups(whole: "Behaviour", file: "AuditedFile", terms: dict[str, list[str]]) -> "list[Grouping]":
    """Metrics of all rows, by each column, by terms if there are some, and by the intersection."""
    from agents.auditing.audited_file import groupings
    from agents.auditing.groups import ALL_ROWS, by_group
    from agents.auditing.terms import by_terms
    from utils.errors import ConfigError

    if terms and "terms" in file.groups:
        raise ConfigError(
            "command line: --groups terms: --group-terms makes groups of that name; give the column another one"
        )
    of_terms = {"terms": by_terms([record.texts for record in file.records], terms)} if terms else {}
    named = [(ALL_ROWS, ["all"] * len(file.records)), *groupings(file.groups | of_terms)]
    return [by_group(name, groups, whole.before, whole.judge.positive, whole.seed) for name, groups in named]


def listed(given: Sequence[str]) -> list[str]:
    """The words of an option that may be given several times, each with several words separated by commas.

    As in a row of CSV, a word with a comma stands in quotation marks: '"yes, no",maybe'.
    """
    return [word for words in csv.reader(given, skipinitialspace=True) for word in words]


def pairs_of(given: Sequence[str], option: str) -> dict[str, str]:
    """{A: B} of A=B. Raises ConfigError for anything else, and for an A that is given twice."""
    from utils.errors import ConfigError

    found: dict[str, str] = {}
    for word in listed(given):
        first, equals, second = word.partition("=")
        if not (first and equals and second):
            raise ConfigError(f"command line: {option} {word}: must be A=B, such as text=Sentence")
        if first in found:
            raise ConfigError(f"command line: {option} gives {first!r} twice")
        found[first] = second
    return found


def write(found: "Audit", out: Path) -> None:
    """Write the reports to the new folder `out`, which is complete or absent."""
    from agents.auditing.report import as_html, as_markdown, as_values
    from utils.files.storage import new_folder, write_synced

    values = json.dumps(as_values(found), indent=1, ensure_ascii=True, allow_nan=False)
    texts = {"report.md": as_markdown(found), "report.html": as_html(found), "audit.json": values + "\n"}
    files = {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}
    with new_folder(out, sum(map(len, files.values()))) as temporary:
        for name, data in files.items():
            write_synced(temporary / name, data)
