"""Changes of the config of a run that has begun: those that extend a finished one, and those with which none goes on."""

import math
from pathlib import Path
from typing import Any

from utils.config.config import Config, flatten


def refuse_changes(config: Config, old_values: dict[str, Any], folder: Path) -> None:
    """Raise ConfigError, with the differences, unless a run that has begun with the old values can go on with this config."""
    old, new = flatten(old_values), flatten(config.to_dict())
    keys = (old.keys() | new.keys()).difference(config.free)
    changed = [key for key in sorted(keys) if old.get(key) != new.get(key)]
    # Except the default of an option that is newer than the run.
    changed = [key for key in changed if key in old or key in config.places]
    if changed:
        differences = ", ".join(f"{key}: {old.get(key)} -> {new.get(key)}" for key in changed)
        raise config.error(
            changed[0],
            f"{folder} holds a run of another config ({differences}); give this one another name=, or --fresh to replace that run",
        )


def goes_on(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a change of config extends a finished run: it is longer, as long with a longer patience, or tested otherwise."""
    if any(old.get(key) != new[key] for key in new if key.startswith("generation.")):
        return True
    (unit, before), (other_unit, now) = _length(old), _length(new)
    if unit != other_unit or not isinstance(before, int):
        return True  # the loop decides
    patience = [math.inf if values.get("train.patience") is None else values["train.patience"] for values in (old, new)]
    return now > before or (now == before and patience[1] > patience[0])


def _length(values: dict[str, Any]) -> tuple[str, Any]:
    """How long a run is, and what counts."""
    steps = values.get("train.num_steps")
    return ("epochs", values.get("train.num_epochs")) if steps is None else ("steps", steps)
