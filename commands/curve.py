"""Learning curve of a config: train it on nested parts of the training rows, and say how many more labels one more point takes.

Each run is an experiment of its own, NAME-n100-seed1, and all are tested on the same rows; the same command again resumes what is
missing.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utils.analysis.curve_report import CurveReport
    from utils.analysis.finding import Run
    from utils.config.config import Config

from commands.input_output import check_output, write_output

SUMMARY = "learning curve: train on parts of the training rows, and extrapolate to more"
SET_HERE = ("seed=", "data.train_limit=")  # overrides that the command writes itself

logger = logging.getLogger("glassbox")
Runs = Mapping[int, list[str]]  # number of training rows -> names of its runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config, the sizes and the form."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/boe.yaml")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="options to change, such as optimizer.lr=3e-4"
    )
    parser.add_argument(
        "--sizes", metavar="N,N,...", required=True, help="numbers of training rows, such as 100,300,1000,3000"
    )
    parser.add_argument("--seeds", metavar="N", default="3", help="seeds 1 to N, or a list such as 1,5,9; default: 3")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs at a time; default: 1")
    parser.add_argument(
        "--metric", metavar="NAME", help="such as accuracy or loss; default: what the runs are chosen by"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    parser.add_argument("--output", metavar="FILE", help="a picture to write as well, FILE.svg or FILE.html")


def run(options: argparse.Namespace) -> None:
    """Check what is asked for, run what is missing, print the curve; after a failure what there is of it."""
    from agents import checked_config
    from commands.train import seeds_of
    from utils.config.config import RUNS
    from utils.errors import CheckpointError
    from utils.runs.launching import JobFailed
    from utils.runs.run_log import set_up_console

    set_up_console()
    check_words(options)
    sizes, seeds = sizes_of(options.sizes), seeds_of(options.seeds)
    config = checked_config(options.config, options.overrides)
    check_output(options.output or "-", config=config)
    check(config, sizes, options.metric)
    names = {size: [f"{config.name}-n{size}-seed{seed}" for seed in seeds] for size in sizes}
    failure = None
    try:
        train(config, options, names, seeds)
    except JobFailed as error:
        failure = error
    report = curve_of(config, names, options.metric)
    if report is not None:
        show(report, options)
    if failure is not None:
        raise failure
    if report is None:
        first = next(iter(names.values()))[0]
        raise CheckpointError(
            f"curve: no run of this config on the files as they are now; {RUNS / first} and the others are of another config, or "
            "on other data: give another name=, or remove them"
        )


def train(config: "Config", options: argparse.Namespace, names: Runs, seeds: Sequence[int]) -> None:
    """Start the runs of all sizes and seeds, as `train --seeds` does; those that have finished stay as they are."""
    from utils.machine.slots import slots_of
    from utils.runs.launching import Queue, job_of, run_all

    slots = slots_of(config.device, min(options.jobs, len(names) * len(seeds)))
    words = [options.config, *(word for word in options.overrides if not word.startswith("name="))]
    jobs = [
        job_of(config, name, [*words, f"seed={seed}", f"data.train_limit={size}"], slots.num_threads)
        for size, runs in names.items()
        for seed, name in zip(seeds, runs, strict=True)
    ]
    run_all(Queue(jobs), slots.environments)


def check_words(options: argparse.Namespace) -> None:
    """Raise ConfigError for a picture of another form, and for overrides that the command writes itself."""
    from utils.errors import ConfigError

    if options.output is not None and Path(options.output).suffix not in (".svg", ".html"):
        raise ConfigError(f"command line: --output must end in .svg or .html, got {options.output!r}")
    if given := [word for word in options.overrides if word.startswith(SET_HERE)]:
        raise ConfigError(f"command line: {given[0]}: curve sets this option for each run; leave it out")


def sizes_of(text: str) -> list[int]:
    """The numbers of training rows that `--sizes` asks for. Raises ConfigError."""
    from utils.errors import ConfigError

    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or sizes != sorted(set(sizes)) or sizes[0] < 1:
        raise ConfigError(
            f"command line: --sizes must be increasing numbers of rows, such as 100,300,1000, got {text!r}"
        )
    return sizes


def check(config: "Config", sizes: list[int], metric: str | None) -> None:
    """Raise ConfigError, before anything is trained, for a task without train_limit, too few rows, or an unknown metric."""
    from agents import AGENTS
    from agents.running.building import build_corpus
    from utils.errors import ConfigError

    agent = AGENTS[config.agent]
    if "train_limit" not in config.data:
        raise ConfigError(
            f"curve: agent: {config.agent} has no data.train_limit; classification, regression and similarity have it"
        )
    known = ("loss", *agent.known_metrics(config))
    if metric is not None and len(known) > 1 and metric not in known:
        raise ConfigError(f"command line: --metric: there is no metric {metric!r}; known: {', '.join(known)}")
    num_rows = len(build_corpus(config, agent.target).scan().rows["train"])
    if sizes[-1] > num_rows:
        raise ConfigError(f"command line: --sizes: the training split has {num_rows:,} rows, got {sizes[-1]}")


def curve_of(config: "Config", names: Runs, metric: str | None) -> "CurveReport | None":
    """The curve of the config's runs that have finished; None where none has."""
    from agents import content_of
    from utils.analysis.curve_report import report_of
    from utils.analysis.finding import find_runs
    from utils.analysis.groups import chosen_metric
    from utils.config.config import RUNS

    started = [RUNS / run for runs in names.values() for run in runs if (RUNS / run).is_dir()]
    if not started:
        return None
    found = find_runs(started)
    content = content_of(config)
    finished = {run.name: run for run in found.runs if is_of(run, config, content)}
    if not finished:
        return None
    reasons = {run.name: "a run of another config, or on other data" for run in found.runs}
    reasons |= {Path(folder).name: reason for folder, reason in {**found.unfinished, **found.unreadable}.items()}
    missing = {
        size: {run: reasons.get(run, "not started") for run in runs if run not in finished}
        for size, runs in names.items()
    }
    runs = {size: [finished[run] for run in runs if run in finished] for size, runs in names.items()}
    return report_of(config.name, chosen_metric(list(finished.values()), metric), runs, missing)


def is_of(run: "Run", config: "Config", content: str) -> bool:
    """Whether a run is one of the config on files of this content, with whatever seed and number of training rows; an option may be
    newer than the run."""
    from utils.config.config import flatten
    from utils.runs.saved import CONTENT

    asked = flatten(config.to_dict()) | {"data.train_limit": run.options.get("data.train_limit"), CONTENT: content}
    return all(asked.get(key) == value for key, value in run.recipe.items() if key in asked)


def show(report: "CurveReport", options: argparse.Namespace) -> None:
    """Print the curve, and write the picture that was asked for."""
    from utils.analysis.curve_report import as_html, as_json, as_svg, as_table

    sys.stdout.write(as_json(report) if options.format == "json" else as_table(report))
    if options.output is not None:
        text = as_svg(report) if options.output.endswith(".svg") else as_html(report)
        write_output(options.output, text)
