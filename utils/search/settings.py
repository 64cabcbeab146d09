"""A sweep's file: which config is searched, over which options, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from utils.config.config import Config, load_config
from utils.config.schema import check_config, construct, did_you_mean

KINDS = ("choice", "int", "log_int", "float", "log")


class Space(NamedTuple):
    """The values of an option. kind: one of KINDS; values: of a choice all of them, else the least and the greatest."""

    kind: str
    values: list[Any]


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """A sweep: runs of one config under other options.

    config: the config that is searched
    name: the runs are experiments/NAME-trial0, ...; default: the file's name
    space: {option: its values}: choice: [a, b, ...]; int or float: [least, greatest]; log_int and log on a logarithmic scale
    trials: number of runs; null: with sampler: grid, all combinations of the choices
    sampler: tpe: from the results so far (Bergstra et al. 2011); random; or grid
    pruner: end runs early that do worse than the median at the same validation, or by hyperband (Li et al. 2018); none: never
    seed: of the sampler
    """

    config: str
    space: dict[str, Any]
    name: str = ""
    trials: int | None = None
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: Literal["none", "median", "hyperband"] = "median"
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.space:
            raise ValueError("space must hold at least one option")
        if self.trials is None and self.sampler != "grid":
            raise ValueError("trials is missing: how many runs there are to be")
        if self.trials is not None and not 1 <= self.trials <= 100_000:
            raise ValueError(f"trials must be between 1 and 100000, got {self.trials}")


def read_settings(path: Path) -> tuple[Config, SweepSettings, dict[str, Space]]:
    """A sweep's file. Raises ConfigError at the line at fault."""
    file = load_config(path)
    if "agent" in file:
        raise file.error(
            "", "is the config of a run, not a sweep; a sweep names it as `config`: see configs/sweeps/bilstm.yaml"
        )
    check_config(file, {}, SweepSettings, "a sweep")
    settings: SweepSettings = construct(file, "", SweepSettings, file)
    space = {key: _space(file, key, values) for key, values in _options(settings.space).items()}
    if settings.sampler == "grid" and (wide := [key for key, own in space.items() if own.kind != "choice"]):
        raise file.error(f"space.{wide[0]}", f"space.{wide[0]}: sampler: grid needs choice: [...] for every option")
    return file, settings, space


def _options(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted option: its values}; sections may be nested or dotted."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        is_section = isinstance(value, Mapping) and value and not set(value) & set(KINDS)
        found |= _options(value, f"{prefix}{key}.") if is_section else {prefix + key: value}
    return found


def _space(file: Config, key: str, given: Any) -> Space:
    """The values of one option."""
    place = f"space.{key}"
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in KINDS:
        hint = did_you_mean(next(iter(given)), KINDS) if isinstance(given, Mapping) and given else ""
        raise file.error(
            place, f"{place} must be one of {', '.join(KINDS)} with its values, such as {{log: [1e-4, 1e-1]}}{hint}"
        )
    ((kind, values),) = given.items()
    if not isinstance(values, list) or not values:
        raise file.error(place, f"{place}: {kind} must be a list, got {values!r}")
    if kind == "choice":
        return Space(kind, values)
    types: tuple[type, ...] = (int,) if "int" in kind else (int, float)
    if len(values) != 2 or not all(type(value) in types for value in values) or not values[0] < values[1]:
        numbers = "whole numbers" if "int" in kind else "numbers"
        raise file.error(place, f"{place}: {kind} must be [least, greatest], two {numbers}, got {values}")
    if "log" in kind and values[0] <= 0:
        raise file.error(place, f"{place}: {kind} must begin above 0, got {values[0]}")
    return Space(kind, values if "int" in kind else [float(value) for value in values])
