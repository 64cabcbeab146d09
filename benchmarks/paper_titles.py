"""A run that writes titles for abstracts beside the abstract's first sentence: python benchmarks/paper_titles.py RUN

RUN (experiments/papers_titles, of configs/papers_titles.yaml) has been tested: its predictions.jsonl is read. chrF of all texts by
sacrebleu and the mean F1 of ROUGE-L (Lin 2004) by rouge-score with its stemmer, both without case; the differences have 95%
intervals of a paired bootstrap over the test texts. Also which share of the titles stands in its abstract as it is.
"""

import json
import sys
from pathlib import Path

import numpy as np
from side_by_side import ROOT, needs

ROUNDS = 2_000


def main(run: str) -> None:
    """Print both ways' scores and the differences."""
    sys.path.insert(0, str(ROOT))
    from datasets.rows.sentences import sentences

    lines = (Path(run) / "predictions.jsonl").read_text().split("\n")[:-1]  # a text may hold other line ends
    rows = [json.loads(line) for line in lines]
    references = [row["reference"].lower() for row in rows]
    ways = {
        "the run": [row["predicted"].lower() for row in rows],
        "the first sentence": [next(sentences(row["source"]), row["source"]).lower() for row in rows],
    }
    drawn = np.random.default_rng(0).integers(len(rows), size=(ROUNDS, len(rows)))
    scores = {name: (chrf(texts, references, drawn), rouge_l(texts, references, drawn)) for name, texts in ways.items()}
    for name, texts in ways.items():
        words = np.mean([len(text.split()) for text in texts])
        print(f"{name}: chrF {scores[name][0][0]:.1f}, ROUGE-L {scores[name][1][0]:.1f}, {words:.1f} words a text")
    for number, metric in enumerate(["chrF", "ROUGE-L"]):
        ours, other = (scores[name][number] for name in ways)
        low, high = np.quantile(ours[1:] - other[1:], [0.025, 0.975])
        print(f"difference in {metric}: {ours[0] - other[0]:.1f}, 95% over {len(rows):,} texts {low:.1f} to {high:.1f}")
    copied = [text in row["source"].lower() for text, row in zip(ways["the run"], rows, strict=True)]
    print(f"titles that stand in their abstract as they are: {np.mean(copied):.3f}")


def chrf(texts: list[str], references: list[str], drawn: np.ndarray) -> np.ndarray:
    """(1 + ROUNDS,): chrF of all texts, in percent, and of each drawn sample of them."""
    from sacrebleu.metrics.chrf import CHRF

    score = CHRF()
    counts = np.array(score._extract_corpus_statistics(texts, [references]))
    totals = np.stack([counts.sum(axis=0), *(counts[rows].sum(axis=0) for rows in drawn)])
    return np.array([score._compute_score_from_stats(total.tolist()).score for total in totals])


def rouge_l(texts: list[str], references: list[str], drawn: np.ndarray) -> np.ndarray:
    """(1 + ROUNDS,): the mean F1 of ROUGE-L of all texts, in percent, and of each drawn sample of them."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    found = [scorer.score(gold, text)["rougeL"].fmeasure for gold, text in zip(references, texts, strict=True)]
    each = 100 * np.array(found)
    return np.concatenate([[each.mean()], each[drawn].mean(axis=1)])


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["sacrebleu", "rouge_score"])
    main(sys.argv[1])
