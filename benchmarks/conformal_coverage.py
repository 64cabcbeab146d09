"""Empirical coverage of `predict --coverage` on test splits: python benchmarks/conformal_coverage.py FOLDER [SET ...]

FOLDER holds the public data sets, as for other_data.py, and papers_split of `prepare papers`. The bag of embeddings of boe.yaml is
trained on each, SEEDS times, with other splits where the authors made none; the sets of labels come from each run's validation
split. A table: asked, empirical coverage on the test split, labels in a set, sets that are empty.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from other_data import SETS as OTHERS
from other_data import write_set
from side_by_side import ROOT, needs, project, start

sys.path.insert(0, str(ROOT))
from agents.predicting.shaping import Shape, ShapedPredictor
from agents.running.other_rows import split_records

COVERAGES, SEEDS = (0.8, 0.9, 0.95), 5
SETS = ("papers_split", "bbc_news", "sms_spam", "ag_news", "newsgroups20", "scicite")


def overrides(name: str, source: Path, folder: Path) -> list[str]:
    """The overrides of `data` that read a set."""
    if name == "bbc_news":
        return []
    if name == "papers_split":
        files = [f"data.{split}={source / name / split}.jsonl" for split in ("train", "valid", "test")]
        return ["data.name=files", "data.fields=[title,abstract]", "data.label=venue", *files]
    splits = OTHERS[name](source / name)
    if name == "newsgroups20":  # its own test split holds later mails, which are no more like the validation split
        splits.pop("test")
    return write_set(folder, splits)


def measured(run: str, coverage: float) -> tuple[float, float, float]:
    """(coverage, labels in a set, share of empty sets) on the test split."""
    predictor = ShapedPredictor(ROOT / run, "cpu", None, Shape(coverage=coverage))
    lines = list(predictor.predict_records(split_records(predictor, "test", "")[0]))
    counts = predictor.counts(lines)
    covered = sum(line["gold"] in line["label_set"] for line in lines)
    return covered / len(lines), counts["labels"] / len(lines), counts["empty"] / len(lines)


def rows(name: str, source: Path) -> Iterator[str]:
    """The rows of the table for a set."""
    found: dict[float, list[tuple[float, float, float]]] = {coverage: [] for coverage in COVERAGES}
    with tempfile.TemporaryDirectory() as folder:
        words = [*overrides(name, source, Path(folder)), f"data.cache_folder={folder}"]
        for seed in range(1, SEEDS + 1):
            run = f"bench-conformal-{name}"
            start(project("configs/boe.yaml", run, *words, f"seed={seed}", f"data.split_seed={seed}"))
            for coverage in COVERAGES:
                found[coverage].append(measured(f"experiments/{run}", coverage))
    for coverage, values in found.items():
        shares, sizes, empty = zip(*values, strict=True)
        mean, low, high = statistics.mean(shares), min(shares), max(shares)
        yield (
            f"| {name} | {coverage:.2f} | {mean:.3f} | {low:.3f} to {high:.3f} | {statistics.mean(sizes):.2f} "
            f"| {100 * statistics.mean(empty):.1f}% |"
        )


def main(source: Path, names: list[str]) -> None:
    """Print the table."""
    print(
        "| data | asked | coverage | of the seeds | labels in a set | empty |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for name in names:
        for row in rows(name, source):
            print(row, flush=True)


if __name__ == "__main__":
    needs(__doc__, arguments=1)
    main(Path(sys.argv[1]), sys.argv[2:] or list(SETS))
