"""Nothing is lost: kill -9, SIGTERM and Ctrl-C at random moments, the same command again, and the same bits at the end."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, TINY_CONFIG, tiny_rows, write_jsonl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# Dropout, accumulation, a schedule, buckets by length, early stopping, and saves in the middle of epochs.
CONFIG = TINY_CONFIG.replace("num_epochs: 2", "num_epochs: 12") + (
    "  accumulation_steps: 3\n  max_grad_norm: 1.0\n  patience: 14\n  save_every: 3 steps\n  validate_every: 7 steps\n"
    "  log_every: 1\nscheduler:\n  name: cosine\n  warmup_steps: 4\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_jsonl(folder / "tiny.jsonl", tiny_rows(346))
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


def start(place: Path, name: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "main.py"), "tiny.yaml", f"name={name}"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )


def finish(place: Path, name: str) -> None:
    process = start(place, name)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def uninterrupted(place: Path) -> dict[str, str]:
    finish(place, "whole")
    return results(place, "whole")


def results(place: Path, name: str) -> dict[str, str]:
    """sha256 of the last and the best weights and of the predictions, and the metrics without speeds."""
    folder = place / "experiments" / name
    files = [*sorted(folder.glob("checkpoints/*/model.safetensors")), folder / "predictions.jsonl"]
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return found | {"metrics": str([{k: v for k, v in line.items() if "per_second" not in k} for line in lines])}


def step_of(folder: Path) -> int:
    """The last step that the log tells of."""
    try:
        return max(int(json.loads(line)["step"]) for line in (folder / "metrics.jsonl").read_text().splitlines())
    except (OSError, ValueError):
        return 0


def random_step(place: Path) -> int:
    """A step of the uninterrupted run, a few before its end at the latest."""
    return random.randrange(1, step_of(place / "experiments" / "whole") - 12)


def send_at(place: Path, name: str, number: int, step: int) -> "subprocess.Popen[str]":
    """Start the run and send it a signal at about this step."""
    process = start(place, name)
    deadline = time.monotonic() + 120
    while step_of(place / "experiments" / name) < step and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random.random() * 0.01)
    assert process.poll() is None, f"ended before step {step}"
    os.killpg(process.pid, number)
    return process


@pytest.mark.parametrize("moment", range(5))
def test_kill_at_a_random_moment_costs_nothing(place: Path, uninterrupted: dict[str, str], moment: int) -> None:
    name, step = f"killed-{moment}", random_step(place)
    assert send_at(place, name, signal.SIGKILL, step).wait() == -signal.SIGKILL
    finish(place, name)
    assert results(place, name) == uninterrupted, f"killed at step {step}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_the_same_command_goes_on(
    place: Path, uninterrupted: dict[str, str], number: int, code: int
) -> None:
    name = f"stopped-{code}"
    process = send_at(place, name, number, random_step(place))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "the same command goes on from there" in errors.splitlines()[-1]
    saved = max(
        int(path.name.removeprefix("step-")) for path in (place / "experiments" / name / "checkpoints").glob("step-*")
    )
    assert f"saved step {saved} " in errors.splitlines()[-1]
    finish(place, name)
    assert results(place, name) == uninterrupted


def test_after_a_kill_every_step_stands_once(place: Path, uninterrupted: dict[str, str]) -> None:
    name = "history"
    num_steps = step_of(place / "experiments" / "whole")
    for step in (20, 60):
        send_at(place, name, signal.SIGKILL, step).wait()
    finish(place, name)
    lines = [json.loads(line) for line in (place / "experiments" / name / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == list(range(1, num_steps + 1))
    events = EventAccumulator(str(place / "experiments" / name / "summaries"), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, num_steps + 1))
    for tag in ("valid/accuracy", "test/accuracy", "train_epoch/loss"):
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
