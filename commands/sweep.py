"""Search for a config's best options: python main.py sweep configs/sweeps/bilstm.yaml.

Each trial is an ordinary run, experiments/NAME-trialN, judged by its best validation; test data decides nothing. The same command
again goes on with what is missing; several processes, also on several machines with the same folder, may run it at once.
"""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.analysis.finding import NO_RESULT
from utils.config.config import RUNS, flatten
from utils.errors import ConfigError, counted
from utils.files.storage import atomic_write
from utils.machine.text_tables import text_table

if TYPE_CHECKING:
    from utils.config.config import Config
    from utils.search.settings import Space, SweepSettings
    from utils.search.study import Study

SUMMARY = "search for a config's best options, with Optuna"
# What trials are judged by, which none of them may choose.
JUDGING = ("train.monitor", "metrics", "data.valid", "data.test", "data.split", "data.limit")
NUM_SHOWN = 10

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SWEEP, overrides and where it runs."""
    parser.add_argument("sweep", metavar="SWEEP", help="a sweep's file, such as configs/sweeps/bilstm.yaml")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="options of its config to change in all trials"
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="trials at a time; default: 1")
    parser.add_argument(
        "--storage", metavar="URL", help="an Optuna storage; default: SQLite in experiments/NAME-study.db"
    )
    parser.add_argument("--fresh", action="store_true", help="remove the study and its runs, and start over")


def run(options: argparse.Namespace) -> None:
    """Check the space, run the trials, write the best config."""
    from agents import content_of
    from utils.machine.slots import slots_of
    from utils.runs.launching import Job, job_of, run_all
    from utils.runs.run_log import set_up_console
    from utils.runs.saved import CONTENT
    from utils.search.settings import read_settings

    set_up_console()
    try:
        from utils.search.study import Study, storage_errors
        from utils.search.trials import Trials
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ConfigError("sweep: needs the package optuna: pip install optuna") from None
    file, settings, space = read_settings(Path(options.sweep))
    config = checked(file, settings, space, options.overrides)
    slots = slots_of(config.device, options.jobs)
    values = flatten(config.to_dict())
    specification = {key: value for key, value in values.items() if key not in ("name", *NO_RESULT.split())}
    specification |= {f"space.{key}": [own.kind, *own.values] for key, own in space.items()}
    specification[CONTENT] = content_of(config)
    given: Any = {
        "storage": options.storage,
        "is_better_more": config.train.monitor[0] == "+",
        "is_fresh": options.fresh,
    }
    study = Study(settings, space, specification, **given)

    def job(owned: Any) -> Job:
        given = [settings.config, *options.overrides, *words(owned.options)]
        fresh = ["--fresh"] * (study.starts_over and owned.starts == 1)
        return job_of(config, owned.name, [*given, *fresh], slots.num_threads)

    with storage_errors():
        run_all(Trials(study, config.train.monitor, job), slots.environments)
    print(as_text(study, config.train.monitor[1:]))
    write_best(study, settings, options.overrides)


def checked(
    file: "Config", settings: "SweepSettings", space: Mapping[str, "Space"], overrides: Sequence[str]
) -> "Config":
    """The config that is searched, tried with the first and the last value of each option. Raises ConfigError."""
    from agents import checked_config
    from utils.runs.experiment import check_name

    check_name(file)
    config = checked_config(settings.config, overrides)
    try:
        checked_config(settings.config, [*overrides, "train.patience=1"])  # which needs validation, too
    except ConfigError:
        raise file.error("config", f"config: {settings.config} has no validation split to judge trials by") from None
    for key in ("name", *space):
        if given := [word for word in overrides if word.startswith(f"{key}=")]:
            raise ConfigError(f"command line: {given[0]}: the sweep chooses {key}; leave it out")
    for key in space:
        if key.startswith(JUDGING) or (key.startswith("loss.") and config.train.monitor == "-loss"):
            raise file.error(
                f"space.{key}", f"space.{key}: trials are judged by it, and would not be by one measure; leave it out"
            )
    for key, own in space.items():
        for value in (own.values[0], own.values[-1]):
            try:
                checked_config(settings.config, [*overrides, *words({key: value})])
            except ConfigError as error:
                raise file.error(f"space.{key}", f"space.{key}: {str(error).removeprefix('command line: ')}") from None
    return config


def words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of the command line."""
    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def as_text(study: "Study", metric: str) -> str:
    """The best trials with their options, and how many ended how."""
    rows = [
        [str(trial.number), f"{trial.value:.4f}", *(shown(study.options(trial)[key]) for key in study.space)]
        for trial in study.ranked[:NUM_SHOWN]
    ]
    states = Counter(trial.state.name.lower() for trial in study.trials)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return "\n".join(
        [*text_table(["trial", metric, *study.space], rows), f"{counted(states.total(), 'trial')}: {counts}"]
    )


def shown(value: Any) -> str:
    """A value in a cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_best(study: "Study", settings: "SweepSettings", overrides: Sequence[str]) -> None:
    """Write the config of the best trial. Raises ConfigError where none is complete."""
    from agents import checked_config

    if not study.ranked:
        raise ConfigError("sweep: no trial was completed")
    best = study.ranked[0]
    path = RUNS / f"{settings.name}-best.yaml"
    config = checked_config(settings.config, [*overrides, *words(study.options(best)), f"name={settings.name}-best"])
    head = (
        f"# The best of {counted(len(study.trials), 'trial')} of the sweep {settings.name}: trial {best.number}, validation "
        f"{config.train.monitor[1:]} {best.value:.4f}.\n#     python main.py {path}\n"
    )
    atomic_write(path, (head + config.to_yaml()).encode())
    logger.info("best: trial %d; its config: python main.py %s", best.number, path)
