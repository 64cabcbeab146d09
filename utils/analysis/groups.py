"""Which runs are one recipe under several seeds, which were tested on the same rows, and in which options recipes differ."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.analysis.finding import Found, Run
from utils.analysis.row_metrics import OF_SCORES, row_metric, rows_key
from utils.config.config import flatten
from utils.errors import ConfigError
from utils.metrics.label_counts import METRICS
from utils.runs.saved import saved_config

# Of the section `data`: which rows are tested.
DATA = ("name", "train", "valid", "test", "format", "split", "split_seed", "limit", "source", "target")


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


def begun(found: Found) -> list[Group]:
    """The unfinished runs as recipes: they have options, and no results yet."""
    return grouped([Run(Path(place), flatten(saved_config(Path(place))), {}, [], "") for place in found.unfinished])


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
    """Runs in sets that were tested on the same rows; without predictions, on as many rows of files with the same content."""
    sets: dict[Any, list[Run]] = {}
    for run in runs:
        data = run.report["data"]
        counts = [data.get(run.split, {}).get(name) for name in ("used", "documents", "sentences")]
        files = repr([run.options.get("agent"), *(run.options.get(f"data.{name}") for name in DATA)])
        sets.setdefault(run.rows or (files, run.split, *counts, data.get("sha256")), []).append(run)
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
    if not any(run.is_measured for run in runs):
        raise ConfigError(
            f"compare: {runs[0].folder} has measured no split (data.split), so there is nothing to compare"
        )
    known = [name for name in runs[0].results if all(name in run.results for run in runs)]
    names = (*METRICS, *OF_SCORES)
    counted = [name for name in names if all(row_metric(name, run.lines[:1], run.options) for run in runs)]
    monitored = [str((run.report.get("best") or {}).get("monitor", ""))[1:] for run in runs]
    default = max(sorted(set(monitored)), key=monitored.count)
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
