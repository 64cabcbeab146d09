"""Words and bigrams of the papers, 10 dimensions, 5 epochs, 2 threads, against fastText: python benchmarks/papers_fasttext.py

fastText gets its own format, lower-cased and cut into the same words, which is not counted. Its `training` is a run less one with
0 epochs, which only reads.
"""

import json
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, Run, alternate, header, median, needs, peer, project, row

sys.path.insert(0, str(ROOT))
from datasets.tokenizers.word import WordTokenizer

CONFIG, REPEATS = "configs/papers_boe_ngrams.yaml", 5


def prepare(folder: Path) -> None:
    """train.txt and test.txt in fastText's format; the training texts shuffled, as it takes them in file order."""
    split = WordTokenizer().split
    for name in ("train", "test"):
        lines = []
        with (ROOT / "data" / "papers_split" / f"{name}.jsonl").open(encoding="utf-8") as file:
            for record in map(json.loads, file):
                words = split(f"{record['title']} {record['abstract']}")
                lines.append(f"__label__{record['venue']} {' '.join(words)}\n")
        random.Random(0).shuffle(lines)
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        fasttext = [folder / "train.txt", folder / "test.txt"]

        def new_cache(number: int) -> list[str]:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            return project(CONFIG, "bench-new", f"seed={number + 1}", f"data.cache_folder={folder / 'cache'}")

        alternate({"warm-up": lambda number: project(CONFIG, "bench-cached")}, 1)
        runs = alternate(
            {
                "fastText": lambda number: peer("fasttext_text.py", *fasttext, 5, number),
                "fastText, reading": lambda number: peer("fasttext_text.py", *fasttext, 0, number),
                "cached": lambda number: project(CONFIG, "bench-cached", f"seed={number + 1}"),
                "new": new_cache,
            },
            REPEATS,
        )
    print_table(runs)


def print_table(runs: dict[str, list[Run]]) -> None:
    """Times and accuracies of all runs."""
    header("fastText", "fasttext")
    calls = [run.result["seconds"] for run in runs["fastText"]]
    reading = median([run.result["seconds"] for run in runs["fastText, reading"]])
    ours, new = ([run.result for run in runs[name]] for name in ("cached", "new"))
    row("training", [r["train"]["seconds"] for r in ours], [call - reading for call in calls], "at most 1")
    uncached = [r["data"]["seconds"] + r["train"]["seconds"] for r in new]
    row("reading, tokenising, training", uncached, calls, "at most 1.8")
    cached, theirs = runs["cached"], runs["fastText"]
    row("whole process", [run.seconds for run in cached], [run.seconds for run in theirs], "at most 2")
    row("peak memory", [run.peak_mb for run in cached], [run.peak_mb for run in theirs], "-", "MB")
    accuracies = [r["test"]["accuracy"] for r in ours[:3]], [run.result["accuracy"] for run in runs["fastText"][:3]]
    means = [statistics.mean(values) for values in accuracies]
    print(f"\nTest accuracy, mean of 3 seeds: {means[0]:.4f} against {means[1]:.4f} (must be at least that)")


if __name__ == "__main__":
    needs(__doc__, "data/papers_split/train.jsonl", packages=("fasttext",))
    main()
