"""No weak moment: a run that dies at any point of what it does on the disk ends, after the same command again, with the same bits."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from faults import DIED
from lab import IS_FULL, MODELS, Lab, Run, of_tier

from utils.runs.checkpoint import CheckpointStore

SAVE_EVERY = 3  # steps, in lab.CONFIG

POINTS: dict[str, dict[str, Any]] = {
    "before the temporary folder of a checkpoint": {"die_at": {"pattern": r"mkdir .*/\.tmp-step-\d+", "n": 2}},
    "in the middle of the weights": {"die_at": {"pattern": r"fsync .*/model\.safetensors", "n": 3, "tear": True}},
    "in the middle of the manifest that names a new best": {
        "die_at": {"pattern": r"fsync .*/MANIFEST\.json", "n": 3, "tear": True}
    },
    "before a checkpoint gets its name": {"die_at": {"pattern": r"rename .*/\.tmp-step-\d+ .*", "n": 1}},
    "after it got its name": {"die_at": {"pattern": r"fsync .*/checkpoints", "n": 3}},
    "before the old one goes": {"die_at": {"pattern": r"rename .*/step-\d+ .*/\.tmp-old-.*", "n": 1}},
    "in the middle of a removal": {"die_at": {"pattern": r"remove state\.pt", "n": 2}},
    "in a validation": {"die_in": {"place": "agents.base:BaseAgent.evaluate", "n": 2, "after": True}},
    "in the middle of the token store": {"die_at": {"pattern": r"fsync .*/train\.0\.ids", "tear": True}},
    "at the last step": {"die_in": {"place": "utils.training.update:Updater.apply", "n": 25, "after": True}},
    "in the middle of the report": {"die_at": {"pattern": r"fsync .*report\.json", "tear": True}},
    # In make test-full, too:
    "before the fsync of the state": {"die_at": {"pattern": r"fsync .*/state\.pt", "n": 2}},
    "in the tokenising": {"die_in": {"place": "datasets.store.word_pass:number_words", "n": 1}},
    "in the writing of tokens": {"die_in": {"place": "datasets.store.word_pass:WordSource._with_ngrams", "n": 3}},
    "in the middle of the store's header": {"die_at": {"pattern": r"fsync .*/header\.json", "tear": True}},
    "in the middle of the predictions": {"die_at": {"pattern": r"fsync .*predictions\.jsonl", "tear": True}},
    "after the report": {"die_at": {"pattern": r"fsync experiments/[^/]*", "n": 5}},
    "before the config": {"die_at": {"pattern": r"open .*config\.yaml"}},
    "before a line of metrics": {"die_at": {"pattern": r"open .*/metrics\.jsonl", "n": 9}},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("faults"))


def assert_at_most_one_interval_is_lost(lab: Lab, name: str) -> None:
    """A checkpoint is there that loads, and it is not older than one interval."""
    steps = [line["step"] for line in lab.metrics(name) if line["split"] == "train"]
    latest = CheckpointStore(lab.path(name) / "checkpoints").latest()
    reached = latest["step"] if latest else 0
    assert reached >= max(steps, default=0) - SAVE_EVERY, f"step {max(steps)} was reached, {reached} is saved"


def assert_same_end(lab: Lab, model: str, name: str, died: Run) -> None:
    """After a death: something to go on from, the same command goes on to the same bits, and nothing unfinished is left."""
    assert died.wait() == DIED, died.stderr
    assert_at_most_one_interval_is_lost(lab, name)
    is_last_save = has_last_save(lab, name)
    lab.finish(model, name)
    assert_same_results(lab, model, name, is_last_save=is_last_save)


def has_last_save(lab: Lab, name: str) -> bool:
    """Whether no save is still to come, which would remove what is too old by now."""
    return (lab.path(name) / "checkpoints" / "step-25").exists()


def assert_same_results(lab: Lab, model: str, name: str, *, is_last_save: bool) -> None:
    """The bits of the run that nothing disturbed; after a death within the last save an older checkpoint may be left besides."""
    results, control = lab.results(name), lab.control(model)[0]
    if is_last_save:
        results = {key: value for key, value in results.items() if key in control or not re.search(r"step-\d+$", key)}
    assert results == control
    swept_by_the_next = r"\.tmp-hashes\.json" + (r"|\.tmp-old-step" if is_last_save else "")
    assert not [path for path in lab.leftovers() if name in str(path) and not re.match(swept_by_the_next, path.name)]


@pytest.mark.parametrize("model", MODELS if IS_FULL else ["bilstm"])
@pytest.mark.parametrize("point", list(POINTS)[: of_tier(11, len(POINTS))])
def test_a_death_at_a_weak_point_costs_nothing(lab: Lab, model: str, point: str) -> None:
    name = f"{model}-{list(POINTS).index(point)}"
    assert_same_end(lab, model, name, lab.start(model, name, **POINTS[point]))


def events_of(lab: Lab, model: str) -> list[tuple[str, int]]:
    """(event, how many times it came before) of all that a run asks of the disk, from the first to the last."""
    lab.finish(model, f"trace-{model}", record={"to": f"trace-{model}.jsonl"})
    seen: dict[str, int] = {}
    found = []
    for line in (lab.folder / f"trace-{model}.jsonl").read_text().splitlines():
        event = json.loads(line).replace(f"trace-{model}", "NAME")
        seen[event] = seen.get(event, 0) + 1
        found.append((event, seen[event]))
    return found


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", MODELS)
def test_a_death_before_anything_that_is_asked_of_the_disk_costs_nothing(lab: Lab, model: str) -> None:
    """Not some weak points but all: before each mkdir, open, fsync, rename and removal of a whole run."""
    events = [
        (event, n) for event, n in events_of(lab, model) if not re.search(r"run\.log|step-(12|15|18|24)\b", event)
    ]
    assert len(events) > 150
    for number, (event, n) in enumerate(events):
        name = f"every-{model}-{number}"
        pattern = re.escape(event).replace("NAME", re.escape(name))
        pattern = re.sub(r"tokens/(\\\.tmp\\-)?[0-9a-f]{32}", r"tokens/\1[0-9a-f]{32}", pattern)
        try:
            assert_same_end(lab, model, name, lab.start(model, name, die_at={"pattern": pattern, "n": n}))
        except AssertionError as error:
            raise AssertionError(f"died before: {event} ({n})") from error


def test_what_is_called_a_death_is_one(lab: Lab) -> None:
    """The fault is at work: the run ends at it, with half a file."""
    died = lab.start("bilstm", "torn", **POINTS["in the middle of the weights"])
    assert died.wait() == DIED
    [temporary] = lab.path("torn").glob("checkpoints/.tmp-step-7-*")
    whole = lab.path("torn") / "checkpoints" / "step-6" / "model.safetensors"
    assert (temporary / "model.safetensors").stat().st_size == whole.stat().st_size // 2
    assert not Path(temporary / "state.pt").exists()
