"""A TensorBoard run for each recipe of several seeds: mean, least and greatest of its curves, so that their band shows.

It lies in experiments/seeds/NAME. The mean has the tags of a run, so that it overlays with others; the band is a chart of the
page Custom Scalars (its layout: utils/trackers/tensorboard.py).
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from utils.analysis.finding import GROUPS
from utils.analysis.groups import Group, what_differs
from utils.files.storage import atomic_write, remove, storage_errors
from utils.runs.reference import curve_of
from utils.runs.saved import CONFIG, CONTENT, METRICS

KINDS = {"": 0, "_low": 1, "_high": 2}  # ends of a tag's group -> the place in a band: mean, least, greatest
MEAN = {"": 0}
COLUMNS = "columns"  # the folder of what HPARAMS shows
SOURCE = "group.json"  # what the events beside it were made from


def write_groups(groups: Sequence[Group], root: Path) -> list[Path]:
    """Write those of several seeds below root/seeds where they are new, remove those of runs that are gone; -> their folders."""
    place = root / GROUPS
    if is_taken(root):
        return []
    named = [(group, place / (group.name + "-seeds" * (group.name == COLUMNS))) for group in groups]
    with storage_errors(place):
        written = [_write(group, folder) for group, folder in named if _is_written(group, folder)]
        for old in place.iterdir() if place.is_dir() else ():
            if old not in written and old.name != COLUMNS and (old / SOURCE).exists():
                remove(old)
    return written


def write_columns(
    groups: Sequence[Group], metrics: Sequence[str], root: Path, *, left_out: Collection[str] = ()
) -> None:
    """Make the options that differ between these recipes, and these metrics, the columns of TensorBoard's HPARAMS page.

    left_out: options that a run does not log, since TensorBoard would go on showing the value of its first start.
    """
    from torch.utils.tensorboard import SummaryWriter

    from utils.runs.run_log import FINAL_TAGS
    from utils.trackers.tensorboard import hparams_of

    folder = root / GROUPS / COLUMNS
    differing = {key: values for key, values in what_differs(groups).items() if key not in (*left_out, CONTENT)}
    examples = {key: _example(values) for key, values in differing.items()} | {"seed": 0}
    with storage_errors(folder):
        if is_taken(root) or not _is_ours(folder):
            return
        _make_anew(folder)
        with SummaryWriter(str(folder)) as writer:
            writer.file_writer.add_summary(hparams_of(examples, [FINAL_TAGS["test"] + name for name in metrics])[0])


def _is_written(group: Group, folder: Path) -> bool:
    """Whether a group has several runs with curves, and a folder that is not somebody else's."""
    has_curves = all((run.folder / METRICS).exists() for run in group.runs)
    return len(group.runs) > 1 and has_curves and _is_ours(folder)


def is_taken(root: Path) -> bool:
    """Whether root/seeds is a run of that name, in which nothing is written."""
    return (root / GROUPS / CONFIG).exists()


def _example(values: Sequence[Any]) -> Any:
    """A value of the type that all of an option's values have: a text where they are not all numbers."""
    given = [value for value in values if value is not None]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    return given[0] if is_number else "text"


def _is_ours(folder: Path) -> bool:
    """Whether a folder is free, or was made here; another one is left as it is."""
    return not folder.exists() or (folder / SOURCE).exists()


def _make_anew(folder: Path) -> None:
    """An empty folder that is known as ours, though what it is made from is noted only at its end."""
    if folder.exists():
        remove(folder)
    folder.mkdir(parents=True)
    atomic_write(folder / SOURCE, "")


def _write(group: Group, folder: Path) -> Path:
    source = json.dumps({run.name: (run.folder / METRICS).stat().st_mtime_ns for run in group.runs})
    if (folder / SOURCE).exists() and (folder / SOURCE).read_text() == source:
        return folder
    from torch.utils.tensorboard import SummaryWriter

    _make_anew(folder)
    with SummaryWriter(str(folder)) as writer:
        for split, kinds in {"train": MEAN, "valid": KINDS}.items():  # no chart shows a band of training
            for point in curve_of([run.folder for run in group.runs], split=split, digits=None)["points"]:
                for name, band in point.items():
                    for end, i in kinds.items() if name != "step" else ():
                        writer.add_scalar(f"{split}{end}/{name}", band[i], point["step"])
    atomic_write(folder / SOURCE, source)
    return folder
