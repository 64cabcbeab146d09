"""The length of a schedule is the number of steps that the run takes, also where epochs differ in theirs (train.batch_tokens)."""

import json
from pathlib import Path

import pytest

from agents import build
from main import main

WORDS = ["tiny.yaml", "scheduler.name=linear", "train.log_every=1", "train.batch_tokens=130"]


def rates(name: str) -> list[float]:
    lines = [json.loads(line) for line in Path(f"experiments/{name}/metrics.jsonl").read_text().splitlines()]
    return [line["lr"] for line in lines if line["split"] == "train"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_line_to_zero_ends_at_the_last_step(workplace: Path, seed: int) -> None:
    agent = build("tiny.yaml", {"train.batch_tokens": 130, "train.num_epochs": 6, "name": "x", "seed": seed})
    steps = [agent.data.loaders["train"].num_steps(epoch) for epoch in range(6)]
    agent.experiment.close()
    assert len(set(steps)) > 1, "epochs of different lengths, or this shows nothing"
    assert main([*WORDS, "train.num_epochs=6", f"seed={seed}", "name=y"]) == 0
    found = rates("y")
    assert len(found) == sum(steps)
    assert found == pytest.approx([0.05 * (1 - step / len(found)) for step in range(len(found))], abs=1e-9)


def test_steps_that_are_given_decide_the_length(workplace: Path) -> None:
    assert main([*WORDS, "train.num_steps=7", "name=x"]) == 0
    assert rates("x") == pytest.approx([0.05 * (1 - step / 7) for step in range(7)])


def test_more_epochs_stretch_the_line_to_the_new_end(workplace: Path) -> None:
    assert main([*WORDS, "name=x"]) == 0
    num = len(rates("x"))
    assert main([*WORDS, "name=x", "train.num_epochs=5"]) == 0
    found = rates("x")
    assert found[num:] == pytest.approx([0.05 * (1 - step / len(found)) for step in range(num, len(found))], abs=1e-9)
