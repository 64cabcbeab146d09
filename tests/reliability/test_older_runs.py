"""A run that the version of commit 0116b85 trained is still of use: it tests, predicts, and is resumed or refused with one line."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Run

HERE = Path(__file__).parent
RUN = "experiments/whole"


@pytest.fixture
def old(workplace: Path) -> Path:
    """The run with the config that made it, over the rows of the workplace."""
    shutil.copytree(HERE / "run_of_0116b85", workplace / RUN)
    shutil.copy(HERE / "run_of_0116b85.yaml", workplace / "old.yaml")
    return workplace / RUN


def assert_usable(run: Run, old: Path) -> None:
    measured = run("test", RUN, "--json")
    assert measured.returncode == 0, measured.stderr
    expected, found = json.loads((old / "report.json").read_text())["test"], json.loads(measured.stdout)
    for name in ("loss", "accuracy", "macro_f1"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6)
    assert found["per_class"] == expected["per_class"]


def test_it_tests_and_predicts_as_it_did(run: Run, old: Path) -> None:
    assert_usable(run, old)
    predicted = run("predict", RUN, "--input", "tiny.jsonl")
    lines = {line["id"]: line for line in map(json.loads, predicted.stdout.splitlines())}
    written = [json.loads(line) for line in (old / "predictions.jsonl").read_text().splitlines()]
    assert len(written) == 24
    for line in written:
        again = lines[line["id"]]
        assert again["predicted"] == line["predicted"]
        assert again["probabilities"] == pytest.approx(line["probabilities"], abs=1e-6)


def test_it_is_not_resumed_on_tokens_that_it_does_not_know(run: Run, old: Path) -> None:
    """Its tokenizer had no normalisation: what is cut today may be other tokens."""
    result = run("old.yaml", "name=whole", "train.num_epochs=4")
    assert result.returncode == 4, result.stderr
    assert "the code that reads the texts has changed: resume with the version that began the run, " in result.stderr
    assert_usable(run, old)


def test_a_new_run_begins_with_its_weights(run: Run, old: Path) -> None:
    result = run("old.yaml", "name=next", f"init_from={RUN}", "train.num_epochs=1")
    assert result.returncode == 0, result.stderr
    assert f"init_from: weights of {RUN}: encoders.0, encoders.1, head.layers.0" in result.stderr
