"""Whether pre-training pays: python benchmarks/pretraining_pays.py CONFIG RUN SEEDS [key=value ...]

CONFIG (configs/papers_finetune.yaml) is trained under each of SEEDS (1,2,3) from the pre-trained RUN, and from scratch with its
tokenizer; where CONFIG begins with published weights (configs/papers_minilm.yaml), from those instead. A run that has ended is not
repeated. Beside them TF-IDF and LinearSVC on the same labelled texts. Says the test accuracy
of each seed, the means, the 95% interval of the difference over seeds, and a paired bootstrap over test texts of the first seed.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats
from side_by_side import ROOT, needs, project, start

ROUNDS = 10_000


def main(config: str, run: str, seeds: list[int], options: list[str]) -> None:
    """Train what is missing, and print the table."""
    sys.path.insert(0, str(ROOT))
    is_published = str(yaml.safe_load((ROOT / config).read_text()).get("init_from")).startswith("pip:")
    other, without = ("as published", []) if is_published else ("from scratch", scratch(run))
    found: dict[str, list[Path]] = {"pre-trained": [], other: []}
    for seed in seeds:
        for kind, changes in {"pre-trained": [f"init_from={run}"], other: without}.items():
            name = f"pays-{kind.replace(' ', '-')}-{seed}"
            start(project(config, name, *changes, f"seed={seed}", *options)[:-1])  # without --fresh
            found[kind].append(ROOT / "experiments" / name)
    scores = {
        kind: [json.loads((run / "report.json").read_text())["test"]["accuracy"] for run in runs]
        for kind, runs in found.items()
    }
    for kind, values in scores.items():
        print(f"{kind}: {statistics.mean(values):.3f} of {', '.join(f'{value:.3f}' for value in values)}")
    gains = np.subtract(scores["pre-trained"], scores[other])
    if len(gains) > 1:
        low, high = stats.t.interval(0.95, len(gains) - 1, gains.mean(), stats.sem(gains))
        print(f"difference: {gains.mean():.3f}, 95% over seeds {low:.3f} to {high:.3f}")
    print(
        "paired bootstrap over test texts, first seed: {:.3f} to {:.3f}".format(
            *bootstrap(*(runs[0] for runs in found.values()))
        )
    )
    print(f"TF-IDF and LinearSVC on the same texts: {linear(found[other][0]):.3f}")


def scratch(run: str) -> list[str]:
    """What makes the same model without its weights."""
    from utils.runs.saved import saved_config

    model = {name: value for name, value in saved_config(ROOT / run)["model"].items() if "dropout" not in name}
    chosen = model | {"pooling": "mean", "dropout": 0.1, "attention_dropout": 0.1}
    return ["init_from=null", f"tokenizer={json.dumps({'name': 'saved', 'path': run})}", f"model={json.dumps(chosen)}"]


def bootstrap(first: Path, second: Path) -> tuple[float, float]:
    """The 95% interval of the difference of two runs' accuracies over resampled test texts."""
    right = []
    for run in (first, second):
        lines = (run / "predictions.jsonl").read_text().split("\n")[:-1]  # a text may hold other line ends
        right.append(np.array([line["gold"] == line["predicted"] for line in map(json.loads, lines)]))
    gains = right[0].astype(float) - right[1]
    drawn = np.random.default_rng(0).choice(gains, (ROUNDS, len(gains))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def linear(run: Path) -> float:
    """The test accuracy of TF-IDF and LinearSVC on the run's own labelled texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from agents.running.building import build_corpus
    from agents.running.trained_run import TrainedRun

    corpus: Any = build_corpus(TrainedRun(run).config)
    scan = corpus.scan()
    texts = {
        split: [(" ".join(r.texts), r.labels[0]) for r in corpus.records(split, scan.rows[split])]
        for split in ("train", "test")
    }
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC())
    model.fit(*map(list, zip(*texts["train"], strict=True)))
    return float(model.score(*map(list, zip(*texts["test"], strict=True))))


if __name__ == "__main__":
    needs(__doc__, arguments=3, packages=["sklearn"])
    main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3].split(",")], sys.argv[4:])
