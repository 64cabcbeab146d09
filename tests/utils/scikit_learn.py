"""scikit-learn's value of every metric of labels, for one label per text, or several as rows of 0 and 1."""

from collections.abc import Callable
from functools import partial

from sklearn import metrics as sklearn

# Called with gold and predicted labels.
EXPECTED: dict[str, Callable[..., float]] = {
    "accuracy": sklearn.accuracy_score,
    "exact_match": sklearn.accuracy_score,
    "macro_f1": partial(sklearn.f1_score, average="macro", zero_division=0),
    "micro_f1": partial(sklearn.f1_score, average="micro", zero_division=0),
    "weighted_f1": partial(sklearn.f1_score, average="weighted", zero_division=0),
    "macro_precision": partial(sklearn.precision_score, average="macro", zero_division=0),
    "macro_recall": partial(sklearn.recall_score, average="macro", zero_division=0),
    "micro_precision": partial(sklearn.precision_score, average="micro", zero_division=0),
    "micro_recall": partial(sklearn.recall_score, average="micro", zero_division=0),
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "mcc": sklearn.matthews_corrcoef,
}
