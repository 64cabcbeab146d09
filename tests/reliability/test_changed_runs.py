"""A run that was changed between two starts: what makes another model is refused with both values, another machine only warns."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults import DIED
from lab import MODELS, Lab, digest, of_tier

from main import main

CHANGES = {  # override -> how the message begins to say what differs
    "model.dropout=0.3": "model.dropout: 0.2 -> 0.3",
    "tokenizer.min_count=2": "tokenizer.min_count: 1 -> 2",
    "data.fields=[text]": "data.fields: ['title', 'text'] -> ['text']",
    "data.max_length=3": "data.max_length: ",
    "data.split_seed=7": "data.split_seed: 0 -> 7",
    "seed=2": "seed: 1 -> 2",
    "train.batch_size=8": "train.batch_size: 16 -> 8",
    "train.accumulation_steps=1": "train.accumulation_steps: 3 -> 1",
    "train.max_grad_norm=2.0": "train.max_grad_norm: 1.0 -> 2.0",
    "optimizer.lr=0.01": "optimizer.lr: 0.05 -> 0.01",
    "optimizer.name=SGD": "optimizer.name: Adam -> SGD",
    "scheduler.name=linear": "scheduler.name: cosine -> linear",
    "scheduler.warmup_steps=2": "scheduler.warmup_steps: 4 -> 2",
    "train.monitor=-loss": "train.monitor: +accuracy -> -loss",
}


@pytest.fixture(scope="module", params=MODELS[-of_tier(1, 2) :])
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A run that was killed after its third save."""
    lab = Lab(tmp_path_factory.mktemp("changed"))
    saved = {"pattern": r"fsync .*/checkpoints", "n": 3}
    assert lab.start(request.param, "begun", die_at=saved).wait() == DIED
    return lab, request.param


def content(lab: Lab) -> dict[str, str]:
    """What a refused start must leave as it was; the lines that it adds to run.log are its own."""
    files = [path for path in lab.path("begun").rglob("*") if path.is_file() and path.name != "run.log"]
    return {str(path): digest(path.read_bytes()) for path in files}


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    yield
    path.write_text(before)


def test_a_changed_config_is_refused_with_both_values(begun: tuple[Lab, str]) -> None:
    lab, model = begun
    before = content(lab)
    for override, difference in CHANGES.items():
        run = lab.finish(model, "begun", override, code=2)
        last = run.stderr.splitlines()[-1]
        assert "Traceback" not in run.stderr
        assert "experiments/begun holds a run of another config (" in last
        assert difference in last
        assert "give this one another name=, or --fresh" in last
    assert content(lab) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("sail", "row"), ('"label": "chess"', '"label": "go"'), ('"label": "chess"', '"label": "sailing"')],
    ids=["a text", "a label's name", "a label less"],
)
def test_changed_data_is_refused(begun: tuple[Lab, str], old: str, new: str) -> None:
    lab, model = begun
    weights = [digest(path.read_bytes()) for path in sorted(lab.path("begun").glob("checkpoints/*/*"))]
    with changed(lab.folder / "tiny.jsonl", old, new):
        run = lab.finish(model, "begun", code=4)
    last = run.stderr.splitlines()[-1]
    assert "experiments/begun/checkpoints: belongs to other data (" in last
    assert "restore the old data, give this run another name=, or start over with --fresh" in last
    assert [digest(path.read_bytes()) for path in sorted(lab.path("begun").glob("checkpoints/*/*"))] == weights


@pytest.mark.parametrize("fact", ["vocabulary", "labels"])
def test_another_vocabulary_or_label_map_is_refused(begun: tuple[Lab, str], fact: str) -> None:
    """Of the same data and options, as another version of this code might make them."""
    lab, model = begun
    run = lab.finish(model, "begun", code=4, other_facts={"values": {fact: "another"}})
    assert f"belongs to other {fact} (" in run.stderr.splitlines()[-1]


def test_several_processes_are_refused(begun: tuple[Lab, str]) -> None:
    lab, model = begun
    run = lab.command(f"{model}.yaml", "name=begun", environment={"WORLD_SIZE": "2"})
    assert run.wait() == 7


FACTS: dict[str, Any] = {"torch": "2.99.0", "num_threads": 3, "cpu": "AVX9", "world_size": 2}


@pytest.mark.parametrize("fact", FACTS)
def test_another_machine_warns_and_goes_on(begun: tuple[Lab, str], fact: str) -> None:
    lab, model = begun
    name = f"machine-{fact}"
    assert lab.start(model, name, die_at={"pattern": r"fsync .*/checkpoints", "n": 2}).wait() == DIED
    run = lab.finish(model, name, other_facts={"values": {fact: FACTS[fact]}})
    warnings = [line for line in run.stderr.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {fact} was {facts_of(begun)[fact]} and is {FACTS[fact]}: the resumed run is not bit-exact"
    ]


def facts_of(begun: tuple[Lab, str]) -> dict[str, Any]:
    [manifest, *_] = begun[0].path("begun").glob("checkpoints/*/MANIFEST.json")
    return json.loads(manifest.read_bytes())["facts"]


def test_after_all_refusals_the_unchanged_run_ends_as_ever(begun: tuple[Lab, str]) -> None:
    lab, model = begun
    lab.finish(model, "begun")
    assert lab.results("begun") == lab.control(model)[0]


def test_a_finished_run_on_changed_data_says_of_which_data_its_report_is(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(*words: str) -> list[str]:
        assert main(["tiny.yaml", "train.num_epochs=1", "name=done", *words]) == 0
        out, err = capsys.readouterr()
        assert "valid" in out
        return [line for line in err.splitlines() if "data has changed" in line]

    data = workplace / "tiny.jsonl"
    assert again() == again() == []
    before = data.read_text()
    data.write_text(before.replace("sail", "row"))
    (line,) = again()
    assert line.startswith("warning: the data has changed since experiments/done was trained, and this is the report")
    assert again("--fresh") == again() == []
    data.unlink()
    assert again() == []
