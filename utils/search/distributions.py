"""Optuna's form of an option's values, and of a choice that its storage could not hold."""

import json
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from utils.search.settings import Space


def distribution(space: Space) -> BaseDistribution:
    """Optuna's form of an option's values."""
    if space.kind == "choice":
        return CategoricalDistribution([encoded(value) for value in space.values])
    low, high = space.values
    part = IntDistribution if "int" in space.kind else FloatDistribution
    return part(low, high, log="log" in space.kind)


def encoded(value: Any) -> Any:
    """A choice as the storage takes it: of lists and sections their JSON."""
    return f"json:{json.dumps(value)}" if isinstance(value, list | dict) else value


def decoded(value: Any) -> Any:
    """A choice as the config has it."""
    return json.loads(value[5:]) if isinstance(value, str) and value.startswith("json:") else value
