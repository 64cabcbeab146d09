"""A run's predictions.jsonl as metrics of any rows: of all, or of rows drawn again. N: rows, B: resamples, L: labels, K: counts.

All but AUROC are functions of counts that rows add up to; drawing rows again weighs what each of them adds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.files.sealed import digest_of
from utils.metrics.label_counts import METRICS, Counts, known_metrics
from utils.metrics.reliability import NUM_BINS, bins_of, decisions_of

Lines = Sequence[Mapping[str, Any]]
OF_A_RUN = ("id", "predicted", "probabilities", "truncated", "log_probability", "is_complete", "hypotheses")
NEWLINE = "\n"  # other ends of lines, such as U+2028, stand within texts
CHUNK = 200  # resamples whose weights are in memory as float64


@dataclass(frozen=True)
class RowMetric:
    """counts: (N, K) what each row adds; compute: the sums (K,) -> the metric."""

    counts: np.ndarray
    compute: Callable[[np.ndarray], float]

    def on_all(self) -> float:
        """The metric of the rows themselves."""
        return self.compute(self.counts.sum(axis=0))

    def on(self, weights: np.ndarray) -> np.ndarray:
        """(B, N) how often each row is drawn -> (B,)."""
        parts = [weights[i : i + CHUNK].astype(self.counts.dtype) @ self.counts for i in range(0, len(weights), CHUNK)]
        return np.array([self.compute(sums) for sums in np.concatenate(parts)])


@dataclass(frozen=True)
class RankMetric:
    """AUROC as `AreaUnderCurve` (utils/metrics/scores.py) defines it, by ranks instead of bins. scores, is_gold: (N, L)."""

    scores: np.ndarray
    is_gold: np.ndarray

    def on_all(self) -> float:
        """As of `RowMetric`."""
        return float(self.on(np.ones((1, len(self.scores))))[0])

    def on(self, weights: np.ndarray) -> np.ndarray:
        """As of `RowMetric`: the mean of the labels' areas, of those that some drawn rows have and others have not."""
        areas = np.stack([self._of_label(label, weights) for label in range(self.scores.shape[1])])  # (L, B)
        is_defined = ~np.isnan(areas)
        return np.where(is_defined, areas, 0.0).sum(axis=0) / np.maximum(is_defined.sum(axis=0), 1)

    def _of_label(self, label: int, weights: np.ndarray) -> np.ndarray:
        """(B,): the share of (positive, negative) pairs that its scores order rightly, a tie half; NaN without a pair."""
        order = np.argsort(self.scores[:, label], kind="stable")
        scores, is_gold = self.scores[order, label], self.is_gold[order, label]
        starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))  # of equal scores
        areas = []
        for start in range(0, len(weights), CHUNK):
            drawn = weights[start : start + CHUNK, order].astype(float)
            positive = np.add.reduceat(drawn * is_gold, starts, axis=1)
            negative = np.add.reduceat(drawn, starts, axis=1) - positive
            wins = (positive * (negative.cumsum(axis=1) - negative / 2)).sum(axis=1)
            with np.errstate(invalid="ignore"):
                areas.append(wins / (positive.sum(axis=1) * negative.sum(axis=1)))
        return np.concatenate(areas)


def rows_key(lines: Lines) -> str:
    """What tells test sets apart: texts and gold answers, in order; not what a run made of them, nor where the files are."""
    return digest_of({"rows": [[line[key] for key in sorted(line) if key not in OF_A_RUN] for line in lines]})


def row_metric(name: str, lines: Lines, options: Mapping[str, Any]) -> RowMetric | RankMetric | None:
    """The metric of that name on the rows of a run; None where its predictions do not hold it. options: of the run, dotted."""
    if not lines:
        return None
    if name in ("bleu", "chrf") and "reference" in lines[0]:
        return _of_sacrebleu(name, lines, options)
    if "gold" not in lines[0]:
        return None
    if isinstance(lines[0]["gold"], float):
        is_loss = name == "loss" and options.get("agent") == "regression"
        return _of_numbers(name, lines) if is_loss or name in ("absolute_error", "root_mean_squared_error") else None
    if "probabilities" in lines[0]:
        if name == "loss":
            return _of_loss(lines, options)
        if name in OF_SCORES:
            return OF_SCORES[name](lines)
    is_of_labels = name in known_metrics(is_multi_label=isinstance(lines[0]["gold"], list))
    return _of_labels(name, lines) if is_of_labels else None


def right_rows(lines: Lines) -> np.ndarray | None:
    """(N,) whether each row was answered right, for McNemar's test; None for tasks without right and wrong."""
    if not lines or "gold" not in lines[0] or isinstance(lines[0]["gold"], float):
        return None
    return np.array([_labels(line["gold"]) == _labels(line["predicted"]) for line in lines])


def _labels(value: Any) -> frozenset[str]:
    return frozenset(value) if isinstance(value, list) else frozenset([value])


def _of_labels(name: str, lines: Lines) -> RowMetric:
    if name in ("accuracy", "exact_match"):
        rights = [[_labels(line["gold"]) == _labels(line["predicted"]), 1] for line in lines]
        return RowMetric(np.array(rights, dtype=float), lambda sums: float(sums[0] / sums[1]))
    sets = [(_labels(line["gold"]), _labels(line["predicted"])) for line in lines]
    known = {label for pair in sets for labels in pair for label in labels} | set(lines[0].get("probabilities", ()))
    place, is_multi = {label: i for i, label in enumerate(sorted(known))}, isinstance(lines[0]["gold"], list)
    gold, predicted = (np.zeros((len(lines), len(place))) for _ in range(2))
    for row, (true, found) in enumerate(sets):
        gold[row, [place[label] for label in true]] = 1
        predicted[row, [place[label] for label in found]] = 1
    right = np.array([true == found for true, found in sets], dtype=float)
    metric, size = METRICS[name], len(place)

    def compute(sums: np.ndarray) -> float:
        correct, of_gold, of_predicted = sums[: 3 * size].reshape(3, size)
        averaged = size if is_multi else int(((of_gold + of_predicted) > 0).sum())
        return metric(Counts(correct, of_gold, of_predicted, int(sums[-2]), int(sums[-1]), averaged))

    columns = [gold * predicted, gold, predicted, right[:, None], np.ones((len(lines), 1))]
    return RowMetric(np.concatenate(columns, axis=1), compute)


def _of_confidence(lines: Lines) -> RowMetric:
    """The expected calibration error; with several labels a text, of every decision."""
    confidences, is_right = decisions_of(lines)
    counts = np.zeros((len(lines), NUM_BINS + 1))
    np.add.at(counts, (np.arange(len(lines))[:, None], bins_of(confidences)), is_right - confidences.astype(float))
    counts[:, -1] = confidences.shape[1]
    return RowMetric(counts, lambda sums: float(np.abs(sums[:-1]).sum() / max(sums[-1], 1.0)))


def _probabilities(lines: Lines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, L) each: the probability of each label, that of its being wrong, without rounding near 1, and whether it is gold."""
    labels = list(lines[0]["probabilities"])
    shares = np.array([list(line["probabilities"].values()) for line in lines])
    is_gold = np.array([[label in _labels(line["gold"]) for label in labels] for line in lines])
    if isinstance(lines[0]["gold"], list):
        return shares, 1 - shares, is_gold
    others = shares.sum(axis=1, keepdims=True) - shares
    is_top = np.arange(len(labels)) == shares.argmax(axis=1)[:, None]
    return shares, np.where(is_top, np.where(is_top, 0.0, shares).sum(axis=1, keepdims=True), others), is_gold


def _of_ranks(lines: Lines) -> RankMetric:
    shares, others, is_gold = _probabilities(lines)
    with np.errstate(divide="ignore"):
        return RankMetric(np.log(shares) - np.log(others), is_gold)


def _of_loss(lines: Lines, options: Mapping[str, Any]) -> RowMetric | None:
    """The losses of graphs/losses in evaluation; None for others, and where a probability that they need was rounded to 0."""
    shares, others, is_gold = _probabilities(lines)
    weights = np.array([options.get(f"loss.class_weights.{label}", 1.0) for label in lines[0]["probabilities"]])
    smoothing, name = options.get("loss.label_smoothing") or 0.0, options.get("loss.name")
    with np.errstate(divide="ignore"):
        own, of_others = -weights * np.log(shares), -np.log(others)
    if name == "binary_cross_entropy":
        losses, divisors = np.where(is_gold, own, of_others).mean(axis=1), np.ones(len(lines))
    elif name in ("cross_entropy", "distillation", "focal"):
        gamma = options.get("loss.gamma", 2.0) if name == "focal" else 0.0
        losses = (1 - smoothing) * np.where(is_gold, own * others**gamma, 0.0).sum(axis=1)
        losses += smoothing * own.mean(axis=1) if smoothing else 0.0
        divisors = np.where(is_gold, weights, 0.0).sum(axis=1)
    else:
        return None
    counts = np.stack([losses, divisors], axis=1)
    return RowMetric(counts, lambda sums: float(sums[0] / (sums[1] or 1.0))) if np.isfinite(losses).all() else None


def _of_numbers(name: str, lines: Lines) -> RowMetric:
    """The loss of a regression is the squared error."""
    errors = np.array([abs(line["predicted"] - line["gold"]) for line in lines], dtype=float)
    power, root = (1, 1.0) if name == "absolute_error" else (2, 0.5 if name == "root_mean_squared_error" else 1.0)
    counts = np.stack([errors**power, np.ones_like(errors)], axis=1)
    return RowMetric(counts, lambda sums: float((sums[0] / sums[1]) ** root))


OF_SCORES: dict[str, Callable[[Lines], RowMetric | RankMetric]] = {"ece": _of_confidence, "auroc": _of_ranks}


def _of_sacrebleu(name: str, lines: Lines, options: Mapping[str, Any]) -> RowMetric:
    from utils.metrics.sacrebleu_scores import ScoringOptions, scorers

    given = {key: options[f"scoring.{key}"] for key in ("tokenize", "lowercase") if f"scoring.{key}" in options}
    score = scorers(ScoringOptions(**given))[name]
    texts, references = [line["predicted"] for line in lines], [line["reference"] for line in lines]
    counts = np.array(score._extract_corpus_statistics(texts, [references]), dtype=float)
    return RowMetric(
        counts, lambda sums: float(score._aggregate_and_compute([sums.round().astype(int).tolist()]).score)
    )


def read_lines(text: str) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl. Raises ValueError for anything else, and for rows that are not all of one kind."""
    try:
        lines = json.loads(f"[{','.join(text.rstrip(NEWLINE).split(NEWLINE))}]")  # at once: twice as fast
    except RecursionError:
        raise ValueError("its lines are nested too deep") from None
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError("its lines are not JSON objects")
    kinds = {(type(line.get("gold")), type(line.get("predicted"))) for line in lines}
    if len(kinds) > 1:
        raise ValueError("gold or predicted is missing in some lines, or of another type")
    return lines
