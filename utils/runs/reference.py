"""A reference curve: how validations of a recipe went under several seeds, to lay one's own run over.

A curve is a JSON file, such as those in docs/curves: {"seeds", "points": [{"step", METRIC: [mean, low, high]}]}.
"""

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.errors import ConfigError
from utils.files import strict_json
from utils.files.storage import read_regular
from utils.runs.saved import metrics_of

KINDS = ("mean", "low", "high")


class ReferenceCurve:
    """The validations of a recipe; low and high: the least and the greatest of its seeds."""

    def __init__(self, path: Path, points: list[dict[str, Any]]) -> None:
        self.path, self.points = path, points
        self.steps = [int(point["step"]) for point in points]

    @classmethod
    def read(cls, path: Path) -> "ReferenceCurve":
        """Raises ConfigError for a file that is none."""
        try:
            points = list(strict_json.parse(read_regular(path))["points"])
            ordered = sorted(points, key=lambda point: int(point["step"]))
            bands = [band for point in points for band in _bands(point).values()]
            if not bands or not all(len(band) == len(KINDS) and math.isfinite(math.fsum(band)) for band in bands):
                raise ValueError("it has no points of mean, low and high")
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or f"is not a reference curve ({error})"
            raise ConfigError(
                f"command line: --against {path}: {reason}; those of this project are in docs/curves"
            ) from None
        return cls(path, ordered)

    def check_metrics(self, known: Sequence[str]) -> None:
        """Raise ConfigError where the curve has none of a run's metrics; known: their names, empty where nobody knows them yet."""
        own = dict.fromkeys(name for point in self.points for name in _bands(point))
        if known and not own.keys() & {"loss", *known}:
            raise ConfigError(
                f"command line: --against {self.path} has {', '.join(own)}; the run has loss, {', '.join(known)}"
            )

    def beside(self, values: Mapping[str, float], step: int) -> str:
        """What the curve had at this step for the first metric that both have, in words; empty outside of it."""
        if not self.steps[0] <= step <= self.steps[-1]:
            return ""
        point = self.points[max(0, bisect.bisect_right(self.steps, step) - 1)]
        for name, (mean, low, high) in _bands(point).items():
            if name in values:
                return f" (reference at step {point['step']}: {name} {mean:.4f}, {low:.4f} to {high:.4f})"
        return ""

    def write_events(self, folder: Path) -> None:
        """Write it for TensorBoard as the runs FOLDER/reference/mean, low and high, in place of what is there."""
        from torch.utils.tensorboard import SummaryWriter

        for i, kind in enumerate(KINDS):
            place = folder / "reference" / kind
            for old in place.glob("events.*") if place.is_dir() else []:
                old.unlink()
            with SummaryWriter(str(place)) as writer:
                for point in self.points:
                    for name, band in _bands(point).items():
                        writer.add_scalar(f"valid/{name}", band[i], point["step"])


def curve_of(
    runs: list[Path], names: list[str] | None = None, split: str = "valid", digits: int | None = 5
) -> dict[str, Any]:
    """The curve of several seeds of a recipe, from their metrics.jsonl, at the steps of the run that ends first.

    Epochs by tokens differ in a batch or two, so that another seed may have validated a few steps earlier or later: its values are
    interpolated between two validations. names: None for all; digits: to which values are rounded, None for not at all.
    """
    found: list[dict[int, dict[str, Any]]] = []
    for run in runs:
        found.append({line["step"]: line for line in metrics_of(run) if line["split"] == split})
    all_steps, points = [sorted(own) for own in found], []
    for step in min(all_steps, key=lambda steps: steps[-1:]):
        at_step = [_at(own, steps, step) for own, steps in zip(found, all_steps, strict=True)]
        known = [name for name in at_step[0] if all(name in own for own in at_step)]
        bands = {name: [own[name] for own in at_step] for name in (known if names is None else names) if name in known}
        if not bands:
            continue
        band = {name: [sum(b) / len(b), min(b), max(b)] for name, b in bands.items()}
        points.append(
            {"step": step} | {name: [_rounded(value, digits) for value in values] for name, values in band.items()}
        )
    return {"runs": [run.name for run in runs], "points": points}


def _at(lines: Mapping[int, Mapping[str, Any]], steps: list[int], step: int) -> dict[str, Any]:
    """The values at a step, or between the validations before and after it; nothing outside of them. steps: sorted."""
    if step in lines:
        return {name: value for name, value in lines[step].items() if name not in ("step", "split")}
    place = bisect.bisect(steps, step)
    if place in (0, len(steps)):
        return {}
    before, after = steps[place - 1], steps[place]
    share, second = (step - before) / (after - before), lines[after]
    return {
        name: (1 - share) * value + share * second[name]
        for name, value in lines[before].items()
        if isinstance(value, int | float) and isinstance(second.get(name), int | float) and name != "step"
    }


def _rounded(value: float, digits: int | None) -> float:
    return value if digits is None else round(value, digits)


def dump(curve: Mapping[str, Any]) -> str:
    """The curve as JSON, a line for each point."""
    head = {key: value for key, value in curve.items() if key != "points"}
    lines = ",\n  ".join(json.dumps(point) for point in curve["points"])
    return json.dumps(head)[:-1] + f', "points": [\n  {lines}\n]}}\n'


def _bands(point: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: value for name, value in point.items() if isinstance(value, list)}
