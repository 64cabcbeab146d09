"""The trace of a few steps: which steps it holds, and what becomes of it where the run ends or the disk is full."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from utils.machine.profiling import FIRST, StepProfile


def steps_in(path: Path) -> list[str]:
    events = json.loads(path.read_text())["traceEvents"]
    return [
        event["name"] for event in sorted(events, key=lambda e: e.get("ts", 0)) if event["name"].startswith("step ")
    ]


def take(profile: StepProfile, path: Path, num_steps: int, last: int | None = None) -> None:
    for number in range(1, num_steps + 1):
        with torch.profiler.record_function(f"step {number}"):
            torch.ones(3) + 1
        profile.after_step(path, is_last=number == last)


def test_it_holds_the_steps_after_the_first_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.pt.trace.json"
    take(StepProfile(2), path, 12)
    assert steps_in(path) == [f"step {FIRST + 1}", f"step {FIRST + 2}"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_ends_before_has_the_steps_that_there_were(tmp_path: Path) -> None:
    path = tmp_path / "x.pt.trace.json"
    take(StepProfile(100), path, FIRST + 3, last=FIRST + 3)
    assert len(steps_in(path)) == 3
    short = tmp_path / "short.pt.trace.json"
    take(StepProfile(100), short, FIRST, last=FIRST)
    assert not short.exists()


def test_one_that_is_cut_short_leaves_the_profiler_free(tmp_path: Path) -> None:
    path = tmp_path / "x.pt.trace.json"
    for _ in range(2):
        profile = StepProfile(9)
        take(profile, path, FIRST + 1)
        profile.close()
        profile.close()
    assert not path.exists()


def test_a_torn_trace_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, of which the profiler says nothing."""

    def torn(self: Any, path: str) -> None:
        Path(path).write_text('{"traceEvents": [{"name": "st')

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", torn)
    with pytest.raises(OSError, match="could not write"):
        take(StepProfile(1), tmp_path / "x.pt.trace.json", 9)
    assert list(tmp_path.iterdir()) == []
