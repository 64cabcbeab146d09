"""Weights that are not those of a model: which are missing, unexpected or misshaped, in words."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from utils.errors import CheckpointError

MAX_NAMES = 5  # parameters of each kind that an error names


def check_fits(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], place: Path) -> None:
    """Raise CheckpointError unless the weights are those of the expected model."""
    if words := misfits(weights, expected):
        raise CheckpointError(f"{place}: belongs to another model or another version of this code ({words})")


def misfits(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Missing, unexpected and misshaped weights, the first names of each kind; empty if all fit."""
    both = [name for name in expected if name in weights and _form(weights[name]) != _form(expected[name])]
    problems = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": sorted(name for name in weights if name not in expected),
        "misshaped": [f"{name} {_form(weights[name])}, not {_form(expected[name])}" for name in both],
    }
    return "; ".join(f"{kind}: {first_names(names)}" for kind, names in problems.items() if names)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def first_names(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(name[:120] for name in names[:MAX_NAMES]) + more
