"""How many planted label errors cross-validation finds: python benchmarks/label_noise.py FOLDER WORK [SET ...]

FOLDER holds the public files of the sets (see other_data.py); WORK gets the runs. 2% of the labels are changed at random; the model
of configs/boe.yaml, and TF-IDF with logistic regression beside it, predict each of five folds from the other four. Prints the share
of the changed rows among the surest 3%, by several scores, as a mean over seeds.
"""

import contextlib
import io
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np
from learning_curves import words_of
from other_data import write_set
from side_by_side import ROOT, needs

sys.path.insert(0, str(ROOT))
from agents import checked_config
from agents.inspecting.label_errors import find_label_errors
from agents.running.building import build_corpus
from datasets.rows.split import folds, text_key
from main import main as start

SEEDS, NUM_FOLDS, CONFIG = (0, 1, 2), 5, str(ROOT / "configs/boe.yaml")


def rows_of(name: str, folder: Path, work: Path) -> tuple[list[str], np.ndarray]:
    """All texts of a set, training and test rows alike, and their label ids."""
    corpus = build_corpus(checked_config(CONFIG, words_of(name, folder, work)))
    records = [r for split, rows in corpus.scan().rows.items() for r in corpus.records(split, rows)]
    _, labels = np.unique([(record.labels or ("",))[0] for record in records], return_inverse=True)
    return [" ".join(record.texts) for record in records], labels


def by_regression(texts: list[str], labels: np.ndarray, test: np.ndarray, place: Path) -> np.ndarray:
    """(N, L) probabilities of the test rows, of a model trained on the others."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform([texts[row] for row in np.flatnonzero(~test)])
    model = LogisticRegression(C=10, max_iter=200).fit(features, labels[~test])
    return np.asarray(model.predict_proba(vectorizer.transform([texts[row] for row in np.flatnonzero(test)])))


def by_project(texts: list[str], labels: np.ndarray, test: np.ndarray, place: Path) -> np.ndarray:
    """The same of the project's model, with a tenth of the training rows for validation."""
    place.mkdir(parents=True, exist_ok=True)
    splits = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
    words = write_set(place, {split: [(texts[i], str(labels[i])) for i in rows] for split, rows in splits.items()})
    words += ["num_threads=1", f"name=noise-{place.name}", "train.batch_size=32", "--fresh"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = start([CONFIG, *words])
    if code:
        raise RuntimeError(f"{place} ended with {code}")
    lines = Path(f"experiments/noise-{place.name}/predictions.jsonl").read_text().splitlines()
    probabilities = [json.loads(line)["probabilities"] for line in lines]
    return np.array([[row[str(label)] for label in range(labels.max() + 1)] for row in probabilities])


def scores_of(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """(N,) each, smallest for the surest errors: the project's, a margin, and the adjusted one of Kuan and Mueller (2022)."""
    rows, num_labels = np.arange(len(labels)), probabilities.shape[1]
    others = probabilities.copy()
    others[rows, labels] = -1
    own = find_label_errors(probabilities, labels).score
    thresholds = np.array([own[labels == label].mean() for label in range(num_labels)])
    adjusted = np.clip(probabilities - thresholds + thresholds.max(), 0, None)
    return {
        "self-confidence": own,
        "margin": own - others.max(axis=1),
        "adjusted": (adjusted / adjusted.sum(axis=1, keepdims=True))[rows, labels],
    }


def main(folder: Path, work: Path, names: list[str]) -> None:
    """Print a line for each set and model."""
    folder, work = folder.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    for name in names or ["bbc_news", "sms_spam"]:
        texts, labels = rows_of(name, folder, work)
        keys, num_labels = np.array([text_key([text]) for text in texts], dtype=np.uint64), labels.max() + 1
        for predict in (by_regression, by_project):
            found: dict[str, list[float]] = {}
            for seed in SEEDS:
                generator, changed = np.random.default_rng(seed), labels.copy()
                planted = generator.choice(len(labels), round(0.02 * len(labels)), replace=False)
                changed[planted] = (changed[planted] + generator.integers(1, num_labels, len(planted))) % num_labels
                fold_of, probabilities = folds(keys, changed, NUM_FOLDS, seed), np.zeros((len(texts), num_labels))
                for fold in range(NUM_FOLDS):
                    place = work / f"{name}-{seed}-{fold}"
                    probabilities[fold_of == fold] = predict(texts, changed, fold_of == fold, place)
                for score, values in scores_of(probabilities, changed).items():
                    surest = np.argsort(values, kind="stable")[: round(0.03 * len(texts))]
                    found.setdefault(score, []).append(float(np.isin(planted, surest).mean()))
            means = ", ".join(f"{score} {statistics.mean(values):.3f}" for score, values in found.items())
            print(f"{name}, {predict.__name__}: {means}", flush=True)


if __name__ == "__main__":
    needs(__doc__, arguments=2, packages=("sklearn",))
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
