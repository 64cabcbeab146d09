"""The bag of embeddings on BBC News against TF-IDF + LinearSVC, same splits: python benchmarks/bbc_linear.py

Both are whole processes, from the start of the interpreter to its end; ours once with its tokens in the cache and once with nothing
there. The peer gets the training texts and is tested on the test texts of the same split.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, alternate, header, peer, project, row

sys.path.insert(0, str(ROOT))
from agents import checked_config
from agents.running.building import build_corpus

CONFIG, SEEDS = "configs/boe.yaml", [0, 1, 2, 3, 4]


def write_split(folder: Path, seed: int) -> None:
    """SEED-train.jsonl and SEED-test.jsonl with the texts of our split."""
    corpus = build_corpus(checked_config(ROOT / CONFIG, {"data.split_seed": seed}))
    scan = corpus.scan()
    for split in ("train", "test"):
        with (folder / f"{seed}-{split}.jsonl").open("w", encoding="utf-8") as file:
            for record in corpus.records(split, scan.rows[split]):
                file.write(json.dumps({"text": " ".join(record.texts), "label": "".join(record.labels or ())}) + "\n")


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in SEEDS:
            write_split(folder, seed)
        ours = {"cached": lambda i: project(CONFIG, "bench-bbc", f"data.split_seed={SEEDS[i]}")}
        alternate(ours, len(SEEDS))  # fills the cache
        ours["new"] = lambda i: [*ours["cached"](i), f"data.cache_folder={folder}/{i}"]
        files = [[folder / f"{seed}-{split}.jsonl" for split in ("train", "test")] for seed in SEEDS]
        runs = alternate({**ours, "SVM": lambda i: peer("tfidf_linear_svc.py", *files[i])}, len(SEEDS))
    accuracies = [run.result["test"]["accuracy"] for run in runs["cached"]], [r.result["accuracy"] for r in runs["SVM"]]
    header("TF-IDF + LinearSVC", "scikit-learn")
    seconds = {name: [run.seconds for run in found] for name, found in runs.items()}
    row("whole process, tokens cached", seconds["cached"], seconds["SVM"], "at most 1")
    row("whole process, nothing cached", seconds["new"], seconds["SVM"], "-")
    row("peak memory", [r.peak_mb for r in runs["cached"]], [r.peak_mb for r in runs["SVM"]], "-", "MB")
    means = [statistics.mean(values) for values in accuracies]
    print(f"\nTest accuracy, mean of {len(SEEDS)} splits: {means[0]:.4f} against {means[1]:.4f} (at most 0.01 below)")


if __name__ == "__main__":
    main()
