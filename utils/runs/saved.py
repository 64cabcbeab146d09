"""The saved config and report of a run's folder, each with a digest of its own. Nothing here imports torch."""

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import yaml

from utils.config import strict_yaml
from utils.config.config import RUNS
from utils.errors import CheckpointError, ConfigError, unreadable
from utils.files import strict_json
from utils.files.sealed import digest_of
from utils.files.storage import read_regular, readable

CONFIG, REPORT, METRICS, PREDICTIONS = "config.yaml", "report.json", "metrics.jsonl", "predictions.jsonl"
EXPORT = "EXPORT.json"  # of a folder that `export` wrote
CONTENT = "data.sha256"  # of the files' content: a run on changed files is of another recipe
SEAL = "# sha256 of these values: "


def saved_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run's folder. Raises CheckpointError where there is no run."""
    path = folder / CONFIG
    with readable(folder):
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder; runs are in {RUNS}/NAME")
        _refuse_pipes(folder)
    try:
        text = read_regular(path).decode()
        if (values := _as_written(text)) is not None:
            return values
        values = strict_yaml.parse(text, str(path)).value
    except FileNotFoundError:
        refuse_export(folder)
        raise CheckpointError(f"{folder}: holds no run ({CONFIG} is missing)") from None
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(unreadable(path, error)) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: is not a config")
    if not text.rstrip().endswith(seal_of(values)):  # a changed pooling, say, would silently change predictions
        raise CheckpointError(f"{path}: is damaged, or was changed by hand; restore it, or start over with --fresh")
    return values


def refuse_export(folder: Path) -> None:
    """Raise CheckpointError for a run in an exported form, which only the commands that answer texts open."""
    if (folder / EXPORT).is_file():
        raise CheckpointError(
            f"{folder}: is an export of a run, which predict, test and the like can use; here give the folder of the run itself"
        )


def _as_written(text: str) -> dict[str, Any] | None:
    """The values of an untouched config by libyaml, 10 times as fast; None if they do not have the digest that was written."""
    has_aliases = re.search(r"[\s,\[{][&*]\w", text) is not None  # which may grow without end
    if has_aliases or not hasattr(yaml, "CSafeLoader"):
        return None
    loader = yaml.CSafeLoader(text)
    try:
        values = loader.get_single_data()
        return values if isinstance(values, dict) and text.rstrip().endswith(seal_of(values)) else None
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        return None
    finally:
        loader.dispose()


def _refuse_pipes(folder: Path) -> None:
    """Raise CheckpointError if one of the run's files is a pipe or a device, on which a read may block forever."""
    for path in folder.iterdir():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise CheckpointError(f"{path}: cannot be read: not a regular file")


def seal_of(values: dict[str, Any]) -> str:
    """The last line of a run's config."""
    return f"{SEAL}{digest_of(values)}"


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a torn or a foreign one is left out. Raises OSError."""
    lines = map(metrics_line, read_regular(folder / METRICS).splitlines())
    return [line for line in lines if line is not None]


def metrics_line(line: bytes) -> dict[str, Any] | None:
    """The values of a line of metrics.jsonl, None for a torn or a foreign one."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        values = strict_json.parse(line)
        if isinstance(values["split"], str) and type(values["step"]) in (int, float) and math.isfinite(values["step"]):
            return dict(values)
    return None
