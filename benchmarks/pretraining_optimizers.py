"""Masked language modelling by AdamW, LAMB and Muon, four learning rates each:
python benchmarks/pretraining_optimizers.py CONFIG STEPS SEEDS [OPTIMIZERS] [key=value ...]

SEEDS and OPTIMIZERS are separated by commas. Each run trains CONFIG for STEPS with its learning rate warmed up over a sixth of
them; a run that has ended is not repeated, so that several processes can share the work and the last one prints the whole table.
Says the validation loss at the last step (equal tokens), and at the step that had been reached when the fastest run ended
(equal seconds).
"""

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from side_by_side import ROOT, needs, project, start

RATES = {
    "AdamW": [5e-4, 1e-3, 2e-3, 4e-3],
    "LAMB": [2.5e-3, 5e-3, 1e-2, 2e-2],
    "Muon": [1e-3, 2e-3, 4e-3, 8e-3],  # the length of its steps is that of AdamW's (utils/optimizers/muon.py)
}


def main(config: str, num_steps: int, seeds: list[int], optimizers: list[str], options: list[str]) -> None:
    """Train what is missing, and print the table."""
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for seed in seeds:
        for optimizer in optimizers:
            for rate in RATES[optimizer]:
                name = f"optimizers-{optimizer}-{rate:g}-{seed}"
                values = {"name": optimizer, "lr": rate, "weight_decay": 0.01, "betas": [0.9, 0.98]}
                overrides = [
                    f"optimizer={json.dumps(values)}",
                    f"scheduler.warmup_steps={num_steps // 6}",
                    f"train.num_steps={num_steps}",
                    f"train.validate_every={max(num_steps // 12, 1)} steps",
                    f"train.save_every={num_steps} steps",
                    f"seed={seed}",
                ]
                command = project(config, name, *overrides, *options)
                result = start(command[:-1]).result  # without --fresh: a finished run is not repeated
                found.setdefault((optimizer, rate), []).append(curve(ROOT / "experiments" / name, result["train"]))
    print_table(found)


def curve(folder: Path, train: dict[str, Any]) -> dict[str, Any]:
    """A run's validations as (seconds, loss), without the time that they took themselves."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    a_step = train["seconds"] / train["steps"]
    return {
        "seconds": train["seconds"],
        "points": [(a_step * x["step"], x["mlm"]) for x in lines if x["split"] == "valid"],
    }


def print_table(found: dict[tuple[str, float], list[dict[str, Any]]]) -> None:
    """Mean and standard deviation over the seeds."""
    shortest = min(run["seconds"] for runs in found.values() for run in runs)
    print(
        "| optimizer | lr | loss at equal tokens | loss at equal seconds | seconds |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for (optimizer, rate), runs in found.items():
        at_tokens = [run["points"][-1][1] for run in runs]
        at_seconds = [at(run["points"], shortest) for run in runs]
        seconds = statistics.mean(run["seconds"] for run in runs)
        print(f"| {optimizer} | {rate:g} | {spread(at_tokens)} | {spread(at_seconds)} | {seconds:.0f} |")


def at(points: list[tuple[float, float]], seconds: float) -> float:
    """The loss at a given time in seconds, interpolated linearly between validations."""
    for (earlier, before), (later, after) in itertools.pairwise(points):
        if later >= seconds:
            return before + (after - before) * (seconds - earlier) / (later - earlier)
    return points[-1][1]


def spread(values: list[float]) -> str:
    """The mean, and the standard deviation of several values."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


if __name__ == "__main__":
    needs(__doc__, arguments=3)
    given = [word for word in sys.argv[1:] if "=" not in word]
    chosen = given[3].split(",") if len(given) > 3 else list(RATES)
    extra = [word for word in sys.argv[1:] if "=" in word]
    main(given[0], int(given[1]), [int(seed) for seed in given[2].split(",")], chosen, extra)
