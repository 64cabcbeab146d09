"""TF-IDF of words and pairs with a linear SVM: python tfidf_linear_svc.py TRAIN TEST [C]; files of {"text", "label"} lines."""

import json
import sys
import time

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

if len(sys.argv) < 3:
    sys.exit(__doc__)


def read(path: str) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 (as a peer would write it)
        rows = [json.loads(line) for line in file]
    return [row["text"] for row in rows], [row["label"] for row in rows]


started = time.perf_counter()
(texts, labels), (test_texts, test_labels) = read(sys.argv[1]), read(sys.argv[2])
vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
model = LinearSVC(C=float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)
model.fit(vectorizer.fit_transform(texts), labels)
seconds = time.perf_counter() - started
accuracy = model.score(vectorizer.transform(test_texts), test_labels)
print(json.dumps({"seconds": seconds, "accuracy": float(accuracy)}))
