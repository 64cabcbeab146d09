"""Finding finished runs under folders, and telling which of them are one recipe under several seeds."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.analysis.row_metrics import OF_SCORES, read_lines, row_metric, rows_key
from utils.config.config import flatten
from utils.errors import CheckpointError, ConfigError, StorageError, unreadable
from utils.files.storage import read_regular, read_sealed
from utils.metrics.label_counts import METRICS
from utils.runs.saved import CONFIG, CONTENT, EXPORT, PREDICTIONS, REPORT, metrics_of, saved_config

GROUPS = "seeds"  # the folder, beside the runs, of TensorBoard's runs of several seeds: see group_log.py
# What two runs of one recipe with the same test rows may differ in: their seeds, and what changes no result.
SEEDS = ("name", "seed", "data.split_seed")
NO_RESULT = "device num_threads data.num_workers data.cache_folder data.max_row_bytes train.keep train.log_every train.save_every"
TENSORBOARD = "tensorboard.histograms tensorboard.graph tensorboard.profile tensorboard.projector"
NOT_A_RECIPE = (*SEEDS, *NO_RESULT.split(), *TENSORBOARD.split(), "distributed.timeout", "metrics")
DATA = [
    "name",
    "train",
    "valid",
    "test",
    "format",
    "split",
    "split_seed",
    "limit",
    "source",
    "target",
]  # of the section: which rows are tested


class Run(NamedTuple):
    """A finished run. options: its config, by dotted keys; lines: its predictions; rows: what its test rows are known by."""

    folder: Path
    options: dict[str, Any]
    report: dict[str, Any]
    lines: list[dict[str, Any]]
    rows: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def split(self) -> str:
        """The split that the run is judged by: test, or validation where it has no test split."""
        return "test" if self.report.get("test") else "valid"

    @property
    def results(self) -> dict[str, float]:
        """Its metrics on that split."""
        found = (self.report.get(self.split) or {}).items()
        numbers = {name: value for name, value in found if isinstance(value, float) and math.isfinite(value)}
        return {name: value for name, value in numbers.items() if name != "majority_accuracy"}

    def value(self, metric: str) -> float:
        """A metric: the report's, or where it has none, from the predictions. Raises KeyError."""
        if metric in self.results:
            return self.results[metric]
        if (found := row_metric(metric, self.lines, self.options)) is None:
            raise KeyError(metric)
        return found.on_all()

    def is_again(self, other: "Run") -> bool:
        """Whether it is the same run as another one: of one recipe and one seed."""
        return all(self.options.get(key) == other.options.get(key) for key in SEEDS[1:]) and self.recipe == other.recipe

    @property
    def recipe(self) -> dict[str, Any]:
        """The options without the seed, and what the files held."""
        recipe = {key: value for key, value in self.options.items() if key not in NOT_A_RECIPE}
        content = self.report.get("data", {}).get("sha256")
        return recipe if content is None else recipe | {CONTENT: content}


class Found(NamedTuple):
    """Finished runs, and the others by folder with the reason."""

    runs: list[Run]
    unfinished: dict[str, str]
    unreadable: dict[str, str]
    repeated: dict[str, str]


def find_runs(places: Sequence[Path]) -> Found:
    """The runs of these folders: each a run's, or one that holds runs. Raises ConfigError where there is none."""
    found, known = Found([], {}, {}, {}), set[Path]()
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; runs are in experiments/NAME")
        is_one = any((place / name).exists() for name in (CONFIG, EXPORT))
        for folder in [place] if is_one else sorted(place.iterdir()):
            is_of_groups = folder.name == GROUPS and not (folder / CONFIG).exists()
            if (
                folder.is_dir()
                and not folder.name.startswith(".")
                and not is_of_groups
                and folder.resolve() not in known
            ):
                known.add(folder.resolve())  # a folder may be named twice
                _sort_in(found, folder)
    if not any(found):
        raise ConfigError(f"{', '.join(map(str, places))}: holds no run")
    return found


def begun(found: Found) -> list["Group"]:
    """The unfinished runs as recipes: they have options, and no results yet."""
    return grouped([Run(Path(place), flatten(saved_config(Path(place))), {}, [], "") for place in found.unfinished])


def _sort_in(found: Found, folder: Path) -> None:
    try:
        run = read_run(folder)
        same = next((other for other in found.runs if run.rows == other.rows and run.is_again(other)), None)
        if same is None:
            found.runs.append(run)
        else:
            found.repeated[str(folder)] = f"has the config and the seed of {same.folder}, and counts once"
    except FileNotFoundError:
        found.unfinished[str(folder)] = f"no report yet; {_progress(folder)}"
    except (CheckpointError, StorageError) as error:
        found.unreadable[str(folder)] = str(error)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found.unreadable[str(folder)] = unreadable(folder, error)


def read_run(folder: Path) -> Run:
    """A finished run. Raises CheckpointError, StorageError, ValueError or OSError; FileNotFoundError for an unfinished one."""
    options, report = flatten(saved_config(folder)), read_sealed(folder / REPORT)
    train = report["train"]
    numbers = (train["seconds"], train["texts_per_second"], report["parameters"], report["peak_memory_bytes"])
    if not all(isinstance(value, int | float) for value in numbers):
        raise ValueError(f"{REPORT} is of another program")
    path = folder / PREDICTIONS
    lines = read_lines(read_regular(path).decode()) if path.exists() else []
    used = report["data"].get("test", {}).get("used")
    if lines and used is not None and len(lines) != used:
        raise ValueError(f"{PREDICTIONS} has {len(lines)} lines, and {used} rows were tested")
    return Run(folder, options, report, lines, rows_key(lines) if lines else "")


def _progress(folder: Path) -> str:
    try:
        lines = metrics_of(folder)
        return f"logged up to step {lines[-1]['step']:,}" if lines else "nothing was logged"
    except OSError:
        return "nothing was logged"


class Group(NamedTuple):
    """The runs of one recipe, in the order of their seeds."""

    name: str
    runs: list[Run]

    @property
    def options(self) -> dict[str, Any]:
        return self.runs[0].recipe

    def values(self, metric: str) -> list[float]:
        return [run.value(metric) for run in self.runs]

    def mean(self, *path: str) -> float:
        """The mean of a number of the reports, such as ("train", "seconds")."""
        found = []
        for run in self.runs:
            value: Any = run.report
            for key in path:
                value = value[key]
            found.append(float(value))
        return sum(found) / len(found)


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Runs by recipe, in the order of their first run."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(run.recipe.items())), []).append(run)
    return named_apart([Group(_name_of(members), sorted(members, key=_seed_of)) for members in groups.values()])


def named_apart(groups: Sequence[Group]) -> list[Group]:
    """Groups with a name each: of those that share one, that of the first run, or else its folder."""
    for name_of in (lambda group: group.runs[0].name, lambda group: str(group.runs[0].folder)):
        names = [group.name for group in groups]
        groups = [group if names.count(group.name) == 1 else group._replace(name=name_of(group)) for group in groups]
    return list(groups)


def _seed_of(run: Run) -> int:
    return int(run.options.get("seed", 0))


def _name_of(runs: Sequence[Run]) -> str:
    """The beginning that all names share, without what leads up to the seed and its first digits."""
    beginning = os.path.commonprefix([run.name for run in runs])  # noqa: RUF071  # letter by letter
    shared = re.sub(r"[-_.=]+(seed|s)?[-_.=]*\d*$", "", beginning)
    return runs[0].name if len(runs) == 1 or not shared else shared


def what_differs(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """The options that are not the same in all groups, each with its value in every group; None where one does not have it.

    First those that all of them have: others follow from a differing part, such as an optimizer's own options.
    """
    keys = dict.fromkeys(key for group in groups for key in group.options)
    columns = {key: [group.options.get(key) for group in groups] for key in keys}
    differing = {key: values for key, values in columns.items() if any(value != values[0] for value in values)}
    missing = {key: sum(key not in group.options for group in groups) for key in differing}
    return dict(sorted(differing.items(), key=lambda item: missing[item[0]] > 0))


def by_rows(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs in sets that were tested on the same rows; without predictions, on the same number of rows of the same files."""
    sets: dict[Any, list[Run]] = {}
    for run in runs:
        num_rows = run.report["data"].get(run.split, {}).get("used")
        files = repr([run.options.get("agent"), *(run.options.get(f"data.{name}") for name in DATA)])
        sets.setdefault(run.rows or (files, run.split, num_rows), []).append(run)
    return list(sets.values())


def first_difference(one: Run, other: Run) -> str:
    """How the test rows of two runs differ, in words."""
    if not one.lines or not other.lines:
        return "they have no predictions, and other files or numbers of rows"
    sizes = f"{len(one.lines):,} against {len(other.lines):,} rows"
    for row, pair in enumerate(zip(one.lines, other.lines, strict=False)):
        if rows_key(pair[:1]) != rows_key(pair[1:]):
            return f"{sizes}, the first difference in row {row + 1}"
    return sizes


def chosen_metric(runs: Sequence[Run], asked: str | None) -> str:
    """The metric to compare by: the one asked for, or what most of the runs were chosen by. Raises ConfigError."""
    known = [name for name in runs[0].results if all(name in run.results for run in runs)]
    names = (*METRICS, *OF_SCORES)
    counted = [name for name in names if all(row_metric(name, run.lines[:1], run.options) for run in runs)]
    monitored = [str((run.report.get("best") or {}).get("monitor", ""))[1:] for run in runs]
    default = max(sorted(set(monitored)), key=monitored.count)
    if not known and asked is None:
        raise ConfigError(
            f"compare: {runs[0].folder} has measured no split (data.split), so there is nothing to compare"
        )
    name = asked or (default if default in known else next((m for m in ("accuracy", "loss") if m in known), ""))
    if name not in (known := list(dict.fromkeys([*known, *counted]))):
        others = [run.folder for run in runs if name not in run.results]
        lacking = f" ({others[0]} has none that is finite)" if len(others) < len(runs) else ""
        raise ConfigError(
            f"compare: there is no metric {name!r} in all of these runs{lacking}; known: {', '.join(known) or 'none'}"
        )
    return name


def plain(value: Mapping[str, Any] | Any) -> str:
    """An option's value as in a config; a missing one as a dash."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
