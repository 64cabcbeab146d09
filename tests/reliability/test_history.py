"""What a run leaves on the disk while it goes on: the order of its writes, its logs, and a finished run that stays as it is."""

import json
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faults import DIED
from lab import MODELS, Lab, digest, moment, of_tier
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from utils.runs.run_log import FINAL_TAGS

SAVED = {"pattern": r"fsync .*/checkpoints"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("history"))


@pytest.mark.parametrize("model", MODELS)
def test_every_save_is_durable_before_an_old_one_goes(lab: Lab, model: str) -> None:
    """fsync of each file < rename < fsync of the folder < removal of the old: what a power cut may not turn round."""
    name = f"order-{model}"
    lab.finish(model, name, record={"to": f"{name}.jsonl"})
    place = f"experiments/{name}/checkpoints"
    events = [json.loads(line) for line in (lab.folder / f"{name}.jsonl").read_text().splitlines()]
    events = [event.replace(f"{place}/", "") for event in events if place in event]
    renames = [i for i, event in enumerate(events) if re.fullmatch(r"rename \.tmp-step-\d+ step-\d+", event)]
    steps = [events[i].rpartition("-")[2] for i in renames]
    found = list[str]()
    assert steps == ["3", "6", "7", "9", "12", "14", "15", "18", "21", "24", "25"]
    for step, i, following in zip(steps, renames, [*renames[1:], len(events)], strict=True):
        beside = f".tmp-step-{step}"
        files = [f"{beside}/{file}" for file in ("model.safetensors", "state.pt", "MANIFEST.json")]
        expected = [
            f"mkdir {beside}",
            *(f"{do} {file}" for file in files for do in ("open", "fsync")),
            f"fsync {beside}",
        ]
        assert events[i - len(expected) : i] == expected
        assert events[i + 1] == f"fsync {place}"
        removals = [event for event in events[i + 2 : following] if event.startswith(("rename", "remove", "rmdir"))]
        assert all(re.fullmatch(r"(rename|rmdir) \S*step-\d+.*|remove \S+", event) for event in removals)
        found += removals
    assert found, "older steps are pruned"


@pytest.mark.parametrize("model", MODELS)
def test_every_step_stands_once_after_kills(lab: Lab, model: str) -> None:
    name = f"steps-{model}"
    for number in range(1, of_tier(3, 5) + 1):
        run = lab.start(model, name, die_at=SAVED | {"n": 1 + number % 2})
        assert run.wait() == DIED
        time.sleep(1.001 - time.time() % 1)  # TensorBoard orders its files by their seconds
    lab.finish(model, name)
    lab.control(model)
    for split in ("train", "valid", "train_epoch", "best_valid", "test"):
        assert points(lab, name, split) == points(lab, f"whole-{model}", split)
    assert [step for step, _ in points(lab, name, "train")] == list(range(1, 26))


def points(lab: Lab, name: str, split: str) -> list[tuple[int, float]]:
    """(step, loss) of a split in metrics.jsonl, which are those in TensorBoard."""
    found = [(line["step"], line["loss"]) for line in lab.metrics(name) if line["split"] == split]
    events = EventAccumulator(str(lab.path(name)), size_guidance={"scalars": 0}).Reload()
    shown = [(event.step, event.value) for event in events.Scalars(FINAL_TAGS.get(split, f"{split}/") + "loss")]
    assert [step for step, _ in shown] == [step for step, _ in found]
    assert [value for _, value in shown] == pytest.approx([value for _, value in found], rel=1e-6)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_is_left_alone(lab: Lab, model: str) -> None:
    lab.control(model)
    folder = lab.path(f"whole-{model}")
    before = {path: digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    lab.finish(model, f"whole-{model}")
    assert {path: digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()} == before


SINKS: dict[str, tuple[dict[str, Any], str]] = {
    "an event cannot be added": ({"fail": {"place": "torch.utils.tensorboard:SummaryWriter.add_scalar", "n": 9}}, "TensorBoard"),
    "events cannot be flushed": ({"fail": {"place": "torch.utils.tensorboard:SummaryWriter.flush", "n": 2}}, "TensorBoard"),
    "events cannot be closed": ({"fail": {"place": "torch.utils.tensorboard:SummaryWriter.close"}}, "TensorBoard"),
    "events cannot be opened": ({"fail": {"place": "torch.utils.tensorboard:SummaryWriter.__init__"}}, "TensorBoard"),
    "a figure cannot be drawn": ({"fail": {"place": "utils.runs.run_log:draw_matrix"}}, "TensorBoard"),
    "the disk of the events is full": (
        {"fail": {"place": "tensorboard.summary.writer.record_writer:RecordWriter.write", "n": 9}}, "TensorBoard"
    ),
    "the disk of the metrics is full": ({"fail": {"place": "utils.runs.run_log:RunLog._append", "n": 5}}, "metrics.jsonl"),
    "old metrics cannot be read": ({"fail": {"place": "utils.runs.run_log:RunLog._drop_after"}}, "metrics.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("sink", SINKS)
def test_a_sink_that_fails_is_told_once_and_costs_nothing_else(lab: Lab, sink: str) -> None:
    fault, word = SINKS[sink]
    name = f"sink-{list(SINKS).index(sink)}"
    run = lab.finish("bag_of_embeddings", name, **fault)
    warnings = [line for line in run.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, run.stderr
    assert f"{word} cannot be written (" in warnings[0]
    assert "Traceback" not in run.stderr
    kept = lab.results(name) if word != "metrics.jsonl" else lab.results(name) | {"metrics": None}
    control = lab.control("bag_of_embeddings")[0]
    assert kept == (control if word != "metrics.jsonl" else control | {"metrics": None})


CLOCKS = {
    "an hour back": (-3600.0, 1.0),
    "ten years on": (315e6, 1.0),
    "standing": (0.0, 0.0),
    "backwards": (0.0, -1.0),
}


@pytest.mark.parametrize("clock", list(CLOCKS)[: of_tier(2, 4)])
def test_the_clock_on_the_wall_decides_nothing(lab: Lab, clock: str) -> None:
    """It jumps between two starts: the newest checkpoint is that of the highest step, and all is logged."""
    seconds, rate = CLOCKS[clock]
    name = f"clock-{list(CLOCKS).index(clock)}"
    assert lab.start("bilstm", name, die_at=SAVED | {"n": 4}).wait() == DIED
    run = lab.finish("bilstm", name, other_clock={"seconds": seconds, "rate": rate})
    assert lab.results(name) == lab.control("bilstm")[0]
    assert "resuming from step 9 " in run.stderr
    assert "warning" not in run.stderr


def test_a_reader_finds_whole_lines_and_events_all_the_time(lab: Lab) -> None:
    """TensorBoard and a tail of metrics.jsonl read on while a run writes, is killed and goes on."""
    name, errors, counts, is_over = "read", list[str](), Counter[str](), threading.Event()
    reader = threading.Thread(target=read_on, args=(lab.path(name), errors, counts, is_over))
    reader.start()
    try:
        for _ in range(of_tier(2, 12)):
            run = lab.start("bilstm", name)
            time.sleep(0.2 + moment(0.4) * random.random())
            run.kill()
        lab.finish("bilstm", name)
        time.sleep(0.2)
    finally:
        is_over.set()
        reader.join()
    assert errors == []
    assert min(counts["reloads"], counts["lines"]) > 10, counts
    assert lab.results(name) == lab.control("bilstm")[0]


def read_on(folder: Path, errors: list[str], counts: Counter[str], is_over: threading.Event) -> None:
    """Read both logs again and again; a last line without its end is still being written."""
    accumulator = None
    while not is_over.is_set():
        try:
            if any(folder.glob("events.*")):
                accumulator = accumulator or EventAccumulator(str(folder))
                accumulator.Reload()
                counts["reloads"] += "train/loss" in accumulator.Tags()["scalars"]
            if (folder / "metrics.jsonl").exists():
                text = (folder / "metrics.jsonl").read_text()
                for line in text[: text.rfind("\n") + 1].splitlines():
                    assert {"step", "split"} <= json.loads(line).keys()
                    counts["lines"] += 1
        except Exception as error:
            errors.append(repr(error))
        time.sleep(0.005)
