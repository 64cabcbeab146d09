"""Do the words with the highest scores carry the gold label? python benchmarks/explain_faithfulness.py NUM_TEXTS RUN|METHOD ...

Of each run, NUM_TEXTS random rows of its test split are explained for their gold labels, by every method that its model can do, or
by those named. Prints by how much the gold label's probability falls without the top 10% of words, and without as many random ones;
the ratio of the two with its 95% interval, a bootstrap over texts; and the seconds a text, deletions included. Start it in
the folder in which the runs were trained, whose data it reads.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from agents import load
from agents.explaining.attribution import METHODS, Explainer, methods_of
from agents.explaining.faithfulness import Faithfulness
from agents.running.other_rows import labelled_records
from agents.running.predictor import Predictor
from datasets.rows.records import Record


def sample(predictor: Predictor, count: int) -> list[Record]:
    """Random rows of the test split."""
    records = list(labelled_records(predictor, None)[0])
    rows = np.random.default_rng(0).permutation(len(records))[:count]
    return [records[row] for row in rows]


def measure(predictor: Predictor, method: str, records: list[Record]) -> str:
    """A line of the table."""
    explainers = {label: Explainer(predictor, method, label) for label in predictor.artifacts.labels}
    check, started = Faithfulness(next(iter(explainers.values()))), time.perf_counter()
    for record in records:
        (label,) = record.labels or ()
        check.add(explainers[label].explain(record))
    seconds = (time.perf_counter() - started) / len(records)
    found = check.summary()
    ratio, falls = found["ratio"], [found[name]["mean"] for name in ("comprehensiveness", "random_comprehensiveness")]
    shown = "-" if ratio is None else in_interval(ratio, 1)
    kept = f"{found['sufficiency']['mean']:.3f} | {found['random_sufficiency']['mean']:.3f}"
    return (
        f"| {predictor.folder.name} | {method} | {falls[0]:.3f} | {falls[1]:.4f} | {shown} | {kept} | {seconds:.2f} |"
    )


def in_interval(found: Mapping[str, Any], digits: int) -> str:
    """A mean with its interval."""
    low, high = ("no bound" if found[end] is None else f"{found[end]:.{digits}f}" for end in ("low", "high"))
    return f"{found['mean']:.{digits}f} [{low}, {high}]"


def main(arguments: list[str]) -> None:
    """Print the table."""
    if len(arguments) < 2 or not arguments[0].isdigit():
        sys.exit(f"usage: {(__doc__ or '').splitlines()[0]}")
    print("| run | method | without top | without random | ratio | only top | only random | s/text |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    named = [name for name in arguments[1:] if name in METHODS]
    for folder in (name for name in arguments[1:] if name not in METHODS):
        predictor = load(folder)
        records = sample(predictor, int(arguments[0]))
        for method in (name for name in methods_of(predictor) if not named or name in named):
            print(measure(predictor, method, records), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
