"""A long run grows neither in memory nor in open files, threads or processes."""

import json
from typing import Any

import numpy as np
import pytest
from lab import MODELS, Lab, of_tier

NUM_STEPS, NUM_EVENTS = of_tier((600, 6), (5000, 50))  # optimizer steps; validations, and as many saves
SLOPE = of_tier(8.0, 1.0)  # MB in 1,000 steps; a short run has not come to rest


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("growth"))


def samples(lab: Lab, model: str) -> list[dict[str, Any]]:
    """What the run held at every validation's step: {"step", "rss" in MB, "files", "threads", "children"}."""
    every = NUM_STEPS // NUM_EVENTS
    options = ("num_epochs=100000", f"num_steps={NUM_STEPS}", "patience=null", "log_every=10")
    options += (f"validate_every={every} steps", f"save_every={every} steps")
    overrides = [f"train.{option}" for option in options]
    log = lab.folder / f"{model}.samples"
    run = lab.start(model, f"long-{model}", *overrides, tell_size={"to": str(log), "every": every})
    assert run.wait(280.0) == 0, run.stderr
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", MODELS[-of_tier(1, 2) :])
def test_a_long_run_holds_no_more_at_its_end(lab: Lab, model: str) -> None:
    found = samples(lab, model)
    assert len(found) == NUM_EVENTS
    for name in ("files", "threads", "children"):
        assert len({sample[name] for sample in found[1:]}) == 1, (name, found)
    settled = found[len(found) // 5 :]
    slope = np.polyfit([sample["step"] / 1000 for sample in settled], [sample["rss"] for sample in settled], 1)[0]
    assert slope <= SLOPE, f"{slope:.2f} MB in 1,000 steps"
    assert len([line for line in lab.metrics(f"long-{model}") if line["split"] == "valid"]) == NUM_EVENTS
