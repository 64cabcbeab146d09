"""Finding finished runs under folders; what is none is named with the reason."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.analysis.row_metrics import read_lines, row_metric, rows_key
from utils.config.config import flatten
from utils.errors import CheckpointError, ConfigError, StorageError, unreadable
from utils.files.sealed import read_sealed
from utils.files.storage import read_regular
from utils.runs.saved import CONFIG, CONTENT, EXPORT, PREDICTIONS, REPORT, metrics_of, saved_config

GROUPS = "seeds"  # the folder, beside the runs, of TensorBoard's runs of several seeds: see group_log.py
# What two runs of one recipe with the same test rows may differ in: their seeds, and what changes no result.
SEEDS = ("name", "seed", "data.split_seed")
NO_RESULT = "device num_threads data.num_workers data.cache_folder data.max_row_bytes train.keep train.log_every train.save_every"
TENSORBOARD = "tensorboard.histograms tensorboard.graph tensorboard.profile tensorboard.projector"
NOT_A_RECIPE = (*SEEDS, *NO_RESULT.split(), *TENSORBOARD.split(), "distributed.timeout", "metrics")


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
    def is_measured(self) -> bool:
        """Whether there was a split to measure."""
        return bool(self.report.get(self.split))

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
    found, folders, empty = Found([], {}, {}, {}), dict[Path, Path](), list[Path]()
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; runs are in experiments/NAME")
        if is_run(place) or holds_runs(place):
            for folder in [place] if is_run(place) else _folders_in(place):
                folders.setdefault(folder.resolve(), folder)  # a folder may be named twice
        else:
            empty.append(place)
    if not folders:
        raise ConfigError(f"{', '.join(map(str, places))}: holds no run")
    for folder in folders.values():
        _sort_in(found, folder)
    found.unreadable.update({str(place): f"{place}: holds no run" for place in empty})
    return found


def is_run(place: Path) -> bool:
    """Whether a folder is that of a run, or of an export of one."""
    return any((place / name).exists() for name in (CONFIG, EXPORT))


def holds_runs(place: Path) -> bool:
    """Whether some of the folders in a folder are runs."""
    return any(map(is_run, _folders_in(place)))


def _folders_in(place: Path) -> list[Path]:
    """The folders that may be runs: neither hidden nor the group runs of TensorBoard."""
    inside = [folder for folder in sorted(place.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    return [folder for folder in inside if folder.name != GROUPS or is_run(folder)]


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
