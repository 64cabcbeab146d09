"""The accuracy rows of docs/results.md: python benchmarks/accuracy.py [ROW ...]

Each row trains one config several times, in processes of its own, and prints every test accuracy, their mean and the time.
BBC News is small, so one split says little: its rows are means over split seeds; the papers have one split and several seeds.
A row with a teacher trains that first, on the same split and seed.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Row(NamedTuple):
    """A config, the override that varies, its values, the mean test accuracy it must reach, a label whose F1 is asked for, and the
    config of the run that it is taught by."""

    config: str
    option: str
    values: list[int]
    target: float | None
    label: str | None = None
    teacher: str | None = None


ROWS = {
    "bbc_boe": Row("configs/boe.yaml", "data.split_seed", [0, 1, 2, 3, 4], 0.962),
    "bbc_bilstm": Row("configs/bilstm.yaml", "data.split_seed", [0, 1, 2, 3, 4], 0.945),
    "papers_boe_ngrams": Row("configs/papers_boe_ngrams.yaml", "seed", [1, 2, 3], 0.840),
    "papers_boe": Row("configs/papers_boe.yaml", "seed", [1], None),
    "papers_bilstm_best": Row("configs/papers_bilstm_best.yaml", "seed", [1, 2, 3], 0.850),
    "papers_bilstm": Row("configs/papers_bilstm.yaml", "seed", [1], None),
    "bbc_transformer": Row("configs/transformer.yaml", "data.split_seed", [0, 1, 2], None),
    "bbc_bert": Row("configs/bert.yaml", "data.split_seed", [0, 1, 2], None),
    "bbc_minilm": Row("configs/bert_minilm.yaml", "data.split_seed", [0, 1, 2], None),
    "bbc_minilm_distilled": Row(
        "configs/bert_minilm_distilled.yaml", "data.split_seed", [0, 1, 2], 0.975, teacher="configs/boe.yaml"
    ),
    "papers_transformer": Row("configs/papers_transformer.yaml", "seed", [1], 0.820),
    "papers_minilm": Row("configs/papers_minilm.yaml", "seed", [1], None),
    "papers_minilm_distilled": Row(
        "configs/papers_minilm_distilled.yaml", "seed", [1], 0.865, teacher="configs/papers_bilstm_best.yaml"
    ),
    "mrpc_minilm": Row("configs/mrpc_minilm.yaml", "seed", [1, 2, 3, 4, 5], None, "equivalent"),
}


def measure(config: str, option: str, value: int, teacher: str | None = None) -> tuple[dict[str, Any], float]:
    """(report, seconds of the whole process) of one run."""
    name = f"accuracy-{Path(config).stem}-{value}"
    words = [f"{option}={value}", f"name={name}", "--fresh"]
    if teacher is not None:
        measure(teacher, option, value)
        words.append(f"loss.teacher=experiments/accuracy-{Path(teacher).stem}-{value}")
    started = time.perf_counter()
    command = [sys.executable, "main.py", config, *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    report = json.loads((ROOT / "experiments" / name / "report.json").read_bytes())
    return report, time.perf_counter() - started


def main(names: list[str]) -> None:
    """Measure the named rows, or all."""
    print("| row | runs | valid accuracy | test accuracy | mean | target | seconds a run |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for name in names or ROWS:
        row = ROWS[name]
        reports, seconds = zip(*(measure(row.config, row.option, v, row.teacher) for v in row.values), strict=True)
        valid, test = ([report[split]["accuracy"] for report in reports] for split in ("valid", "test"))
        target = "-" if row.target is None else f"{row.target:.3f}"
        runs = f"{row.option} {', '.join(map(str, row.values))}"
        figures = f"{statistics.mean(test):.4f} | {target} | {statistics.median(seconds):.0f}"
        print(f"| `{row.config}` | {runs} | {listed(valid)} | {listed(test)} | {figures} |", flush=True)
        if row.label is not None:
            valid, test = ([r[split]["per_class"][row.label]["f1"] for r in reports] for split in ("valid", "test"))
            print(
                f"| F1 of {row.label} | | {listed(valid)} | {listed(test)} | {statistics.mean(test):.4f} | | |",
                flush=True,
            )


def listed(values: list[float]) -> str:
    """0.9731 0.9820 ..."""
    return " ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    has_papers = (ROOT / "data" / "papers_split").is_dir()
    if impossible := [n for n in sys.argv[1:] or ROWS if n not in ROWS or ("papers" in n and not has_papers)]:
        sys.exit(
            f"{__doc__}\ncannot be measured here: {', '.join(impossible)}; rows: {', '.join(ROWS)} (papers: see the README)"
        )
    main(sys.argv[1:])
