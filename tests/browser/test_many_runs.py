"""A hundred runs in TensorBoard."""

import shutil
import time
from pathlib import Path
from typing import Any

from browser.boards import FINISHED, needs_browser, opened, photographed, seen

pytestmark = needs_browser
NUMBER, SECONDS = 100, 10
ALL_READ = "names => fetch('data/runs').then(a => a.json()).then(runs => names.every(name => runs.includes(name)))"


def test_a_hundred_runs_are_there_within_ten_seconds(page: Any, runs: Path, tmp_path: Path) -> None:
    names = [f"run{i:03}" for i in range(NUMBER)]
    for i, name in enumerate(names):
        shutil.copytree(runs / FINISHED[i % len(FINISHED)], tmp_path / "many" / name)
    with opened(tmp_path / "many") as board:
        begun = time.monotonic()
        page.goto(f"{board}#scalars")
        page.wait_for_function(ALL_READ, arg=names)
        page.reload()  # it shows what had been read when it was opened
        seen(page, names[-1]).first.wait_for()
        seconds = time.monotonic() - begun
        missing = [name for name in names if not seen(page, name).count()]
        photographed(page, "hundred_runs")
    print(f"{NUMBER} runs: {seconds:.1f} s")
    assert missing == []
    assert seconds < SECONDS
