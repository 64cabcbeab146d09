"""Train the model of a config, from text to test report, in experiments/NAME. The same command again resumes the run."""

import argparse
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from utils.config.config import Config

SUMMARY = "train the model of a config (the default command: `train` may be omitted)"

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, overrides and flags."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/bilstm.yaml")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="options to change, such as optimizer.lr=3e-4"
    )
    parser.add_argument("--fresh", action="store_true", help="remove the run of that name and start over")
    parser.add_argument(
        "--against", metavar="CURVE", help="show a reference curve beside the run, such as docs/curves/NAME.json"
    )
    parser.add_argument(
        "--seeds",
        metavar="N",
        help="run it under seeds 1 to N, or a list such as 1,5,9, and compare; resumes what is missing",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=1, help="with --seeds: number of runs at a time; default: 1"
    )
    parser.add_argument("--dry-run", action="store_true", help="check the config, print it with all defaults, and stop")


def run(options: argparse.Namespace) -> None:
    """Check the config, claim the folder, build the agent, run it, print the report."""
    from pathlib import Path

    from agents import AGENTS, build_agent, checked_config  # imports torch: 2 s that --help does not need
    from utils.distributed.shutdown import together
    from utils.errors import ConfigError
    from utils.machine.environment import start_facts
    from utils.runs.experiment import Experiment
    from utils.runs.reference import ReferenceCurve
    from utils.runs.run_log import set_up_console
    from utils.runs.run_report import print_report

    with together() as worker:
        set_up_console(is_on=worker.is_first)
        config = checked_config(options.config, options.overrides)
        if options.jobs != 1 and options.seeds is None:
            raise ConfigError("command line: --jobs goes with --seeds")
        if options.seeds is not None and not options.dry_run:
            under_seeds(config, options, num_processes=worker.size)
            return
        if options.dry_run:
            if options.seeds is not None:
                seeds_of(options.seeds)
            show_plan(config, is_first=worker.is_first)
            return
        curve = ReferenceCurve.read(Path(options.against)) if options.against else None
        if curve is not None:
            curve.check_metrics(AGENTS[config.agent].known_metrics(config))
        worker.limit(config.distributed.timeout)
        worker.refuse_different("config", start_facts(config))
        worker.refuse_small(config.train.batch_size, config.train.batch_tokens)
        worker.choose_device(config.device)  # rejects more ranks than devices, before --fresh removes anything
        experiment = Experiment.open(config, is_fresh=options.fresh, worker=worker)
        if (report := experiment.report) is not None:
            experiment.close()
            introduce(report, config, experiment.folder)
        else:
            agent = build_agent(config, experiment)
            if curve is not None and worker.is_first:
                agent.log.lay_over(curve)
            report = agent.run()
    if not worker.is_first:
        return
    try:
        print_report(report)
    finally:  # the report exists, even if nobody reads it
        folder = experiment.folder
        logger.info("report: %s/report.json; compare: python main.py compare, or board for TensorBoard", folder)


def introduce(report: "dict[str, Any]", config: "Config", folder: "Path") -> None:
    """Say that a run is finished, which option takes it further, and whether its report is of other data."""
    from utils.runs.run_report import check_report

    check_report(report, folder)
    length = "train.num_epochs" if config.train.num_steps is None else "train.num_steps"
    option = "train.patience" if report["train"]["is_stopped_early"] else length
    logger.info("%s is finished; its report (--fresh starts over, a higher %s resumes it):", folder, option)
    warn_of_other_data(config, folder, report)


def warn_of_other_data(config: "Config", folder: "Path", report: "Mapping[str, Any]") -> None:
    """Warn where the files of a finished run are no longer those it was trained on; files that are gone say nothing."""
    from agents import content_of
    from utils.errors import GlassboxError

    try:
        content = content_of(config)
    except GlassboxError:
        return
    if content != report["data"].get("sha256", content):  # the reports of early versions have none
        logger.warning(
            "warning: the data has changed since %s was trained, and this is the report on the old data; --fresh trains on the new",
            folder,
        )


def under_seeds(config: "Config", options: argparse.Namespace, num_processes: int) -> None:
    """Run a config under several seeds, each in a process and a folder of its own, and print the comparison."""
    from commands.compare import as_tables
    from utils.analysis.finding import find_runs
    from utils.config.config import RUNS
    from utils.errors import ConfigError
    from utils.machine.slots import slots_of
    from utils.runs.launching import Queue, job_of, run_all

    if num_processes > 1:
        raise ConfigError("command line: --seeds starts its own processes; leave torchrun out")
    words_of = [word for word in options.overrides if not word.startswith("name=")]
    if given := [word for word in words_of if word.startswith("seed=")]:
        raise ConfigError(f"command line: {given[0]}: --seeds sets the seed; leave it out")
    names = {seed: f"{config.name}-seed{seed}" for seed in seeds_of(options.seeds)}
    slots = slots_of(config.device, min(options.jobs, len(names)))
    words_of += ["--fresh"] * options.fresh + (["--against", options.against] if options.against else [])
    given = [options.config, *words_of]
    jobs = [job_of(config, name, [*given, f"seed={seed}"], slots.num_threads) for seed, name in names.items()]
    run_all(Queue(jobs), slots.environments)
    places = [RUNS / name for name in names.values()]
    found = find_runs(places)
    if found.runs and not any(run.is_measured for run in found.runs):
        logger.info("nothing to compare: the runs have measured no split (data.split)")
        return
    sys.stdout.write(as_tables(found, list(map(str, places))))


def seeds_of(text: str) -> list[int]:
    """The seeds that `--seeds` asks for: 1 to N, or a list. Raises ConfigError."""
    from utils.errors import ConfigError

    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    seeds = list(range(1, min(numbers[0], 1001) + 1)) if len(numbers) == 1 else numbers
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or len(seeds) > 1000:
        raise ConfigError(f"command line: --seeds must be a number of seeds, or a list such as 1,5,9, got {text!r}")
    return seeds


def show_plan(config: "Config", *, is_first: bool) -> None:
    """Print a checked config with all its defaults, and say how large the model is and how long the run."""
    import torch

    from agents import AGENTS
    from agents.running.checking import describe_plan
    from utils.machine.streams import is_utf8

    print(config.to_yaml(is_ascii=not is_utf8(sys.stdout)) if is_first else "", end="")
    sys.stdout.flush()
    plan = describe_plan(AGENTS[config.agent](config, torch.device("cpu")))
    logger.info("ok: %s; a dry run reads no data, and so counts neither rows nor tokens", plan)
