"""The accuracy rows of docs/results.md: python benchmarks/accuracy.py [ROW ...]

Each row trains one config several times, in processes of its own, and prints every test accuracy, their mean and the time.
BBC News is small, so one split says little: its rows are means over split seeds; the papers have one split and several seeds.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Row(NamedTuple):
    """A config, the override that varies, its values, and the mean test accuracy that it must reach."""

    config: str
    option: str
    values: list[int]
    target: float | None


ROWS = {
    "bbc_boe": Row("configs/boe.yaml", "data.split_seed", [0, 1, 2, 3, 4], 0.962),
    "bbc_bilstm": Row("configs/bilstm.yaml", "data.split_seed", [0, 1, 2, 3, 4], 0.945),
    "papers_boe_ngrams": Row("configs/papers_boe_ngrams.yaml", "seed", [1, 2, 3], 0.840),
    "papers_boe": Row("configs/papers_boe.yaml", "seed", [1], None),
    "papers_bilstm_best": Row("configs/papers_bilstm_best.yaml", "seed", [1, 2, 3], 0.850),
    "papers_bilstm": Row("configs/papers_bilstm.yaml", "seed", [1], None),
}


def measure(config: str, option: str, value: int) -> tuple[float, float, float]:
    """(valid accuracy, test accuracy, seconds of the whole process) of one run."""
    name = f"accuracy-{Path(config).stem}-{value}"
    started = time.perf_counter()
    command = [sys.executable, "main.py", config, f"{option}={value}", f"name={name}", "--fresh"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    report = json.loads((ROOT / "experiments" / name / "report.json").read_bytes())
    return report["valid"]["accuracy"], report["test"]["accuracy"], time.perf_counter() - started


def main(names: list[str]) -> None:
    """Measure the named rows, or all."""
    print("| row | runs | valid accuracy | test accuracy | mean | target | seconds a run |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for name in names or ROWS:
        row = ROWS[name]
        results = [measure(row.config, row.option, value) for value in row.values]
        valid, test, seconds = zip(*results, strict=True)
        words = [" ".join(f"{value:.4f}" for value in column) for column in (valid, test)]
        target = "-" if row.target is None else f"{row.target:.3f}"
        runs = f"{row.option} {', '.join(map(str, row.values))}"
        figures = f"{statistics.mean(test):.4f} | {target} | {statistics.median(seconds):.0f}"
        print(f"| `{row.config}` | {runs} | {words[0]} | {words[1]} | {figures} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
