"""A comparison of recipes: a row for each with its spread over seeds, and for each pair what can be said of their difference."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from utils.analysis import paired
from utils.analysis.finding import Run
from utils.analysis.groups import Group, grouped, what_differs
from utils.analysis.paired import Interval
from utils.analysis.row_metrics import (
    OF_A_RUN,
    RankMetric,
    RowMetric,
    right_rows,
    row_metric,
)
from utils.analysis.seeds import Spread, almost_stochastic_order, spread_of
from utils.errors import ConfigError
from utils.metrics.directions import IN_PERCENT, direction_of

# Options of what training adds to the loss, and an evaluation does not.
OF_TRAINING = ("loss.r_drop", "loss.teacher", "loss.alpha", "loss.temperature")
PLAIN = {"cross_entropy", "distillation"}  # the same function in an evaluation
BY_TOKEN = ("pretraining", "seq2seq")  # agents whose losses are means over tokens
LOSSES = ("loss", "nll", "mlm", "perplexity")
ALL_PAIRS = 5  # recipes; of more, each is compared with the best one alone
FEW_SEEDS = 5  # below this, an almost stochastic order says nothing
BINNED = {"auroc": 2e-3}  # what a report's figure may be off by, since it is counted in bins of scores; others: ROUNDED
ROUNDED = 1e-4


class Pair(NamedTuple):
    """Two recipes on the same rows; differences are second - first, turned round where less is better.

    rows: the same models on other rows, with p adjusted by Holm for all pairs; seeds: the same recipes under other seeds; both: at
    once; share: of the variance that the seeds explain; mcnemar: of single runs; order: eps_min of "second is better"
    """

    first: Group
    second: Group
    rows: Interval | None
    seeds: Interval | None
    both: Interval | None
    share: float | None
    mcnemar: float | None
    order: float | None
    adjusted: float | None = None
    reason: str | None = None  # why it is not tested

    @property
    def p(self) -> float:
        """Of no difference. For single runs' accuracy McNemar's, which is exact however few rows differ."""
        assert self.decisive is not None
        return self.decisive.p if self.mcnemar is None else self.mcnemar

    @property
    def decisive(self) -> Interval | None:
        """What decides: other rows and other seeds where several seeds were run, else other rows."""
        return self.both or self.rows or self.seeds


class ContradictionError(ConfigError):
    """The predictions of a run contradict its report."""

    def __init__(self, run: Run, message: str):
        super().__init__(message)
        self.run = run


class Comparison(NamedTuple):
    """Recipes that were tested on the same rows."""

    metric: str
    groups: list[Group]
    spreads: list[Spread]
    differing: dict[str, list[Any]]
    pairs: list[Pair]

    @property
    def num_rows(self) -> int:
        return len(self.groups[0].runs[0].lines)


def compare(runs: Sequence[Run], metric: str) -> Comparison:
    """Compare runs that have the same test rows. Raises ContradictionError for predictions that do not give the report's figure."""
    groups, sign = grouped(runs), direction(runs, metric)
    spreads = [spread_of(group.values(metric)) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: sign * spreads[i].mean)
    groups, spreads = [groups[i] for i in order], [spreads[i] for i in order]  # the best one last
    resampled = _resampled(groups, metric)
    pairs = [
        _pair(groups[i], groups[j], metric, sign, (resampled[i], resampled[j]) if resampled else None)
        for i, j in _chosen(len(groups))
    ]
    tested = [pair for pair in pairs if pair.decisive is not None]
    num_tests = len(tested) if len(groups) <= ALL_PAIRS else len(groups) * (len(groups) - 1) // 2
    adjusted = paired.adjusted_for([p_among(pair, num_tests) for pair in tested], num_tests)
    found = {id(pair): p for pair, p in zip(tested, adjusted, strict=True)}
    pairs = [pair._replace(adjusted=found.get(id(pair))) for pair in pairs]
    return Comparison(metric, groups, spreads, what_differs(groups), pairs)


def p_among(pair: Pair, num_tests: int) -> float:
    """A pair's p-value for the correction for many, at least that of other seeds alone.

    Two or three seeds drawn with replacement have hardly a tail, of which the smallest of many p-values comes: with 5 recipes of 2
    seeds, all alike, some pair was called different in 21% of the cases, and is in 2%.
    """
    return max(pair.p, pair.seeds.p) if num_tests > 1 and pair.both and pair.seeds else pair.p


def direction(runs: Sequence[Run], metric: str) -> float:
    """1 where more of a metric is better, -1 where less is. Raises ConfigError for one that nothing is known of."""
    monitors = [str((run.report.get("best") or {}).get("monitor")) for run in runs]
    of_runs = next((monitor[0] for monitor in monitors if monitor[1:] == metric), None)
    if sign := direction_of(metric) or of_runs:
        return 1.0 if sign == "+" else -1.0
    raise ConfigError(
        f"compare: whether more or less {metric} is better is not known; compare runs with it as train.monitor"
    )


def _chosen(num: int) -> list[tuple[int, int]]:
    """The pairs to compare, of recipes in order: all of few, else each with the last, which is the best."""
    if num <= ALL_PAIRS:
        return [(i, j) for i in range(num) for j in range(i + 1, num)]
    return [(i, num - 1) for i in range(num - 1)]


def _resampled(groups: Sequence[Group], metric: str) -> list[np.ndarray] | None:
    """(B, R) of each group: the metric of its runs on the same resamples of rows; None where predictions do not hold it."""
    # Of a single recipe, too: what contradicts its report is refused.
    found = [[_of_rows(run, metric) for run in group.runs] for group in groups]
    if len(groups) < 2 or any(each is None for metrics in found for each in metrics):
        return None
    weights = paired.row_weights(len(groups[0].runs[0].lines))
    return [np.stack([each.on(weights) for each in metrics if each is not None], axis=1) for metrics in found]


def _of_rows(run: Run, metric: str) -> RowMetric | RankMetric | None:
    """A run's metric of any rows, None where its predictions do not hold it. Raises ContradictionError.

    A loss that they do not give is another one than those of graphs/losses, or of probabilities too near to 0 and 1.
    """
    if (found := row_metric(metric, run.lines, run.options)) is None:
        return None
    value = found.on_all()
    allowed = BINNED.get(metric, ROUNDED) * max(1.0, abs(value))
    if abs(value - run.value(metric)) <= allowed:  # not where one is no number
        return found
    if metric == "loss":
        return None
    says = f"its predictions give {metric} {value:.4f}, its report says {run.value(metric):.4f}"
    raise ContradictionError(run, f"{run.folder}: {says}; python main.py test {run.folder} measures it again")


def _pair(
    first: Group, second: Group, metric: str, sign: float, resampled: tuple[np.ndarray, np.ndarray] | None
) -> Pair:
    if reason := other_quantities(first, second, metric):
        return Pair(first, second, None, None, None, None, None, None, reason=reason)
    at_seeds = [sign * value for value in first.values(metric)], [sign * value for value in second.values(metric)]
    seeds = paired.over_seeds(*at_seeds)
    is_enough = min(map(len, at_seeds)) >= FEW_SEEDS
    order = almost_stochastic_order(at_seeds[1], at_seeds[0]) if is_enough else None
    if resampled is None:
        return Pair(first, second, None, seeds, None, None, None, order)
    a, b = sign * resampled[0], sign * resampled[1]
    observed = float(np.mean(at_seeds[1]) - np.mean(at_seeds[0]))
    rows, both = paired.over_rows(a.mean(axis=1), b.mean(axis=1), observed), paired.over_both(a, b, observed)
    share = paired.share_of_seeds(a, b) if both else None
    return Pair(first, second, rows, seeds, both, share, _mcnemar(first, second, metric), order)


def other_quantities(first: Group, second: Group, metric: str) -> str | None:
    """Why the figures of two recipes are not of one quantity, in words; None where they are."""
    one, other = first.runs[0], second.runs[0]
    if metric in IN_PERCENT:
        signatures = [(run.report.get(run.split) or {}).get(f"{metric}_signature") for run in (one, other)]
        are_other = signatures[0] != signatures[1]
        return f"sacreBLEU's signatures differ ({' and '.join(map(str, signatures))})" if are_other else None
    if metric not in LOSSES:
        return None
    found = what_differs([first, second])
    differing = [key for key, values in found.items() if key != "loss.name" or set(values) != PLAIN]
    of_tokens = [key for key in differing if key.startswith(("tokenizer.", "target_tokenizer.", "objective.pairs"))]
    of_loss = [key for key in differing if key.startswith("loss.") and key not in OF_TRAINING]
    if of_tokens and one.options.get("agent") in BY_TOKEN:
        return f"{metric} is a mean over other tokens in each ({of_tokens[0]}); bits_per_byte, bleu and chrf are not"
    return f"the losses are not the same function ({of_loss[0]})" if of_loss and metric == "loss" else None


def _mcnemar(first: Group, second: Group, metric: str) -> float | None:
    if metric not in ("accuracy", "exact_match") or len(first.runs) > 1 or len(second.runs) > 1:
        return None
    one, other = (right_rows(group.runs[0].lines) for group in (first, second))
    return None if one is None or other is None else paired.mcnemar(one, other)


def disagreements(first: Run, second: Run) -> list[dict[str, Any]]:
    """The rows that two runs answer differently. Raises ConfigError for runs with other rows, or without predictions."""
    if not first.rows or first.rows != second.rows:
        raise ConfigError(
            f"compare: --rows needs two runs with predictions on the same test rows, got {first.name} and {second.name}"
        )
    found = []
    for one, other in zip(first.lines, second.lines, strict=True):
        if one["predicted"] != other["predicted"]:
            row = {key: value for key, value in one.items() if key == "id" or key not in OF_A_RUN}
            found.append(
                row
                | {"predicted": {str(run.folder): line["predicted"] for run, line in ((first, one), (second, other))}}
            )
    return found
