"""What the browser tests share: the names of the runs, commands as a user starts them, what a page shows."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

needs_browser = pytest.mark.skipif(os.environ.get("GLASSBOX_BROWSER") != "1", reason="make test-browser runs it")
SEEDS = ["small-seed1", "small-seed2", "small-seed3"]
FINISHED = [*SEEDS, "wide"]
RUNS = [*FINISHED, "unfinished"]
SHOTS = Path(os.environ.get("GLASSBOX_SCREENSHOTS", ROOT / ".cache" / "screenshots"))
WAIT = 60_000  # milliseconds that a page may take on a busy machine


def start(place: Path, *words: str) -> "subprocess.Popen[str]":
    """`python main.py WORDS` as a user starts it."""
    command = [sys.executable, str(ROOT / "main.py"), *words]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def completed(place: Path, *words: str) -> None:
    """A command that ends well."""
    process = start(place, *words)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


def report_of(runs: Path, name: str) -> dict[str, Any]:
    """A run's report.json."""
    return json.loads((runs / name / "report.json").read_text())


@contextmanager
def opened(folder: Path) -> Iterator[str]:
    """`python main.py board FOLDER --port 0`; -> its address."""
    process = start(folder.parent, "board", str(folder), "--port", "0")
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("TensorBoard: http://localhost:"), process.stderr.read()
        yield line.split()[1]
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def seen(page: Any, text: str) -> Any:
    """What shows exactly this text."""
    return page.get_by_text(text, exact=True).locator("visible=true")


def settled(page: Any, read: Callable[[], Any], expected: Any) -> Any:
    """What `read` returns once it is what is expected; what it returns at last if that takes longer than WAIT."""
    for _ in range(WAIT // 100):
        if (found := read()) == expected:
            return found
        page.wait_for_timeout(100)
    return read()


def photographed(page: Any, name: str, *, is_whole: bool = False) -> None:
    """Keep what the page shows as NAME.png. is_whole: with what is below the window."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=is_whole)
