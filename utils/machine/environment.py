"""Environment of a run: versions, the project's commit, memory; and the facts that a bit-exact resume depends on."""

import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from utils.config.config import Config, flatten
from utils.errors import CheckpointError

PROJECT = Path(__file__).resolve().parent.parent.parent
BY_CODE = "the code that reads the texts has changed: resume with the version that began the run"
WARN_ONLY = ("torch", "num_threads", "cpu", "device", "world_size")  # a difference costs only bit-exactness


def environment_facts(device: torch.device, world_size: int = 1) -> dict[str, Any]:
    """Facts besides config and data on which a bit-exact result depends."""
    return {
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "world_size": world_size,
    }


def start_facts(config: Config) -> dict[str, Any]:
    """Facts on which all ranks must agree before any data is read: the config except its threads, and versions."""
    facts = flatten(config.to_dict()) | {f"the version of {name}": value for name, value in _installed().items()}
    return {name: value for name, value in facts.items() if name != "num_threads"}


def compare_facts(old: dict[str, Any], new: dict[str, Any], place: Path) -> list[str]:
    """Warnings about changes that only cost bit-exactness. Raises CheckpointError if data, vocabulary or labels have changed."""
    warnings = []
    old = {"tokens": new.get("older_tokens")} | old
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        if name == "older_tokens":
            continue
        if name == "tokens" and old.get(name) is None:
            warnings.append("an older version began this run, so a change of its tokens since then would go unnoticed")
            continue
        if name not in WARN_ONLY:
            is_made_by_code = name in ("tokens", "vocabulary") and old.get("data") == new.get("data")
            way_back = BY_CODE if is_made_by_code else f"restore the old {name}"
            raise CheckpointError(
                f"{place}: belongs to other {name} ({_short(old.get(name))} there, {_short(new.get(name))} now); "
                f"{way_back}, give this run another name=, or start over with --fresh"
            )
        warnings.append(f"{name} was {old.get(name)} and is {new.get(name)}: the resumed run is not bit-exact")
    return warnings


def versions() -> dict[str, Any]:
    """Python, torch and this project's commit; `dirty`: whether the tree differs from it, None without git."""
    changes = _git("status", "--porcelain")
    return _installed() | {"dirty": None if changes is None else bool(changes)}


def _installed() -> dict[str, Any]:
    commit = _git("rev-parse", "HEAD")
    return {"python": platform.python_version(), "torch": torch.__version__, "git_commit": commit}


def peak_memory_bytes() -> int:
    """Peak resident set size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            errors="replace",  # for file names in another encoding
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _short(value: Any) -> str:
    return str(value)[:12]
