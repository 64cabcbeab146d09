"""Peer and project in one run: commands started in turn, several times each, and the ratio of their medians.

The machines are shared and noisy, so a time alone says little; two commands that take turns see the same noise.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"


class Run(NamedTuple):
    """One start of a command: seconds of the whole process, its peak memory in MB, and what it said of itself.

    That is the last line of a peer, which is JSON, and the report of a training of ours.
    """

    seconds: float
    peak_mb: float
    result: dict[str, Any]


def alternate(commands: Mapping[str, Callable[[int], Sequence[str]]], repeats: int) -> dict[str, list[Run]]:
    """Start every command in turn, `repeats` times; a command is made from the number of the round."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(repeats):
        for name, command in commands.items():
            runs[name].append(start(command(number)))
            print(f"  {name}, round {number + 1}: {runs[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
    return runs


def start(command: Sequence[str]) -> Run:
    """Run a command to its end in the project's folder, or a peer outside of it. Raises RuntimeError where it fails."""
    is_peer = str(PEERS) in " ".join(command)
    folder = Path(tempfile.gettempdir()) if is_peer else ROOT  # our `datasets` would shadow the library of that name
    environment = {
        "GOMP_SPINCOUNT": "10000",
        **os.environ,
    }  # main.py's own setting, as its lack would slow a peer on a busy machine
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{errors.read().decode()[-2000:]}")
        lines = output.read().decode().strip().splitlines()
    names = [word.removeprefix("name=") for word in command if word.startswith("name=") and "main.py" in command]
    result = json.loads((ROOT / "experiments" / names[0] / "report.json").read_bytes() if names else lines[-1])
    return Run(seconds, usage.ru_maxrss / 1024, result)


def needs(usage: str | None, *files: str, arguments: int = 0, packages: Sequence[str] = ()) -> None:
    """End the script with its usage (its docstring) and exit code 2 where it lacks arguments, files of the project or packages."""
    missing = [f"no file {name}" for name in files if not (ROOT / name).exists()]
    missing += [f"no package {name}: see requirements-bench.txt" for name in packages if find_spec(name) is None]
    missing += ["too few arguments"] if len(sys.argv) <= arguments else []
    if missing:
        print(f"{usage}\n{'; '.join(missing)}", file=sys.stderr)
        raise SystemExit(2)


def project(config: str, name: str, *overrides: str) -> list[str]:
    """The command that trains a config of ours from scratch under a name."""
    return [sys.executable, "main.py", config, f"name={name}", *overrides, "--fresh"]


def peer(script: str, *arguments: object) -> list[str]:
    """The command that runs one of benchmarks/peers."""
    return [sys.executable, str(PEERS / script), *map(str, arguments)]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def row(what: str, ours: Sequence[float], theirs: Sequence[float], target: str, unit: str = "s") -> None:
    """One line of a table: medians of both, and the ratio ours : theirs."""
    ratio = median(ours) / median(theirs)
    print(
        f"| {what} | {median(ours):,.3g} {unit} | {median(theirs):,.3g} {unit} | {ratio:.2f} | {target} |", flush=True
    )


def header(peer_name: str, *packages: str) -> None:
    """Machine and versions, and the head of the table that `row` fills."""
    from importlib.metadata import version

    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", *packages))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; load {os.getloadavg()[0]:.1f}")
    print(f"\n| what | this project | {peer_name} | ratio | target |\n| --- | ---: | ---: | ---: | --- |")
