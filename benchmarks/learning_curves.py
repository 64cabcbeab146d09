"""How often learning curves tell a larger training set's error: python benchmarks/learning_curves.py FOLDER WORK [SET ...]

FOLDER holds the public files of the sets (see other_data.py); WORK gets the runs and is resumed. The model of configs/boe.yaml is
trained on 1/32 to 1/4 of the training rows (at most 4,000) under three seeds; half of them and all of them are held out. Prints for
each set the 95% interval of the error at both, and whether the measured error lies inside.
"""

import contextlib
import io
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from other_data import SETS, Rows, table, write_set
from side_by_side import ROOT, needs

sys.path.insert(0, str(ROOT))
from agents import checked_config
from agents.running.building import build_corpus
from main import main as start
from utils.analysis.learning_curve import fit_learning_curve

SEEDS, PARTS, MAX_ROWS = (1, 2, 3), (32, 16, 8, 4, 2, 1), 4000
NUM_FITTED = 4  # of the parts; the others are held out
TRAINING = ["num_threads=1", "train.batch_size=32"]  # the config's 128 would be a step an epoch on the smallest sets
LONG = "newsgroups20"  # only where it is named: it takes longer than all the others together
FIELDS: dict[str, list[str]] = {"bbc_news": []}  # the set that the config itself reads


def papers(folder: Path) -> Rows:
    """Titles and the field of their conference."""
    from datasets.sources.papers import _papers

    return ((title, venue) for title, _, venue in _papers(folder))


OTHERS: dict[str, Callable[[Path], dict[str, Rows]]] = {
    **SETS,
    "papers": lambda at: {"train": papers(at)},
    "ag_news_sample": lambda at: {"train": table(at.parent / "ag_news" / "train_sample_10001.tsv.gz", [0], 1, "\t")},
}


def words_of(name: str, folder: Path, work: Path) -> list[str]:
    """The overrides that make the config read a set."""
    place = work / "data" / name
    if name in FIELDS:
        return FIELDS[name]
    place.mkdir(parents=True, exist_ok=True)
    return write_set(place, OTHERS[name](folder / name))


def train(name: str, words: list[str]) -> tuple[dict[int, list[float]], int]:
    """Test error of each seed by number of training rows, and the number of test rows."""
    config = str(ROOT / "configs/boe.yaml")
    rows = build_corpus(checked_config(config, words)).scan().rows
    num_rows, found = min(len(rows["train"]), MAX_ROWS), dict[int, list[float]]()
    for size in (num_rows // part for part in PARTS):
        for seed in SEEDS:
            run = f"{name}-n{size}-seed{seed}"
            own = [config, *words, *TRAINING, f"name={run}", f"seed={seed}", f"data.train_limit={size}"]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                code = start(own)
            if code:
                raise RuntimeError(f"{run} ended with {code}")
            report = json.loads(Path(f"experiments/{run}/report.json").read_bytes())
            found.setdefault(size, []).append(1 - report["test"]["accuracy"])
    return found, len(rows["test"])


def main(folder: Path, work: Path, names: list[str]) -> None:
    """Train on the named sets, or all, and print the table."""
    folder, work = folder.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    print("| data | fitted on | rows | error measured | predicted | 95% interval | inside |", flush=True)
    print("| --- | --- | ---: | ---: | ---: | --- | --- |", flush=True)
    inside = []
    for name in names or ["bbc_news", *(each for each in OTHERS if each != LONG)]:
        curve, num_test = train(name, words_of(name, folder, work))
        sizes = list(curve)
        law = fit_learning_curve(sizes[:NUM_FITTED], [curve[size] for size in sizes[:NUM_FITTED]], num_test)
        for size in sizes[NUM_FITTED:]:
            found, measured = law.predict(size), statistics.mean(curve[size])
            inside.append(found.low <= measured <= found.high)
            ends = f"{found.low:.4f} to {found.high:.4f} | {'yes' if inside[-1] else 'NO'}"
            fitted = f"{sizes[0]} to {sizes[NUM_FITTED - 1]}"
            print(f"| {name} | {fitted} | {size} | {measured:.4f} | {found.value:.4f} | {ends} |", flush=True)
    print(f"{sum(inside)} of {len(inside)} inside")


if __name__ == "__main__":
    needs(__doc__, arguments=2)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
