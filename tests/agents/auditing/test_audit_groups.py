"""Metrics by group against Fairlearn and by hand; intervals by simulation."""

import math

import numpy as np
import pytest

from agents.auditing.answers import Answers
from agents.auditing.groups import MAX_GROUPS, Grouping, by_group
from agents.auditing.intervals import of_gap, of_mean, of_share
from utils.errors import ConfigError

LABELS = ["spam", "ham", "other"]


def answers(predicted: np.ndarray, gold: np.ndarray | None, labels: list[str] = LABELS) -> Answers:
    return Answers(labels, predicted, np.eye(len(labels))[predicted], gold)


def drawn(num_rows: int, seed: int = 0, num_groups: int = 4) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Groups, gold and predicted labels; the more a group's number, the more is predicted at random."""
    generator = np.random.default_rng(seed)
    group, gold = generator.integers(0, num_groups, num_rows), generator.integers(0, 3, num_rows)
    is_random = generator.random(num_rows) < 0.2 + 0.15 * group
    return [f"g{i}" for i in group], gold, np.where(is_random, generator.integers(0, 3, num_rows), gold)


def macro_f1(gold: np.ndarray, said: np.ndarray) -> float:
    scores = [2 * ((gold == i) & (said == i)).sum() / ((gold == i).sum() + (said == i).sum()) for i in range(3)]
    return float(np.mean(scores))


def values(grouping: Grouping, metric: str) -> dict[str, float]:
    return {name: estimate.value for name, estimate in grouping.metrics[metric].items()}


def test_by_hand() -> None:
    #        a: 4 rows                b: 2 rows   c: one row
    groups = ["a", "a", "a", "a", "b", "b", "c"]
    gold = np.array([0, 0, 1, 1, 0, 1, 0])
    said = np.array([0, 1, 0, 1, 0, 1, 1])
    found = by_group("g", groups, answers(said, gold, ["yes", "no", "never"]), "yes")
    assert found.sizes == {"a": 4, "b": 2, "c": 1}
    assert values(found, "accuracy") == {"a": 0.5, "b": 1.0, "c": 0.0}
    assert values(found, "macro_f1") == {"a": 0.5, "b": 1.0, "c": 0.0}, "of the labels that the group has"
    assert values(found, "selection_rate[yes]") == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert values(found, "false_negative_rate") == {"a": 0.5, "b": 0.0, "c": 1.0}
    false_positives = values(found, "false_positive_rate")
    assert (false_positives["a"], false_positives["b"]) == (0.5, 0.0)
    assert math.isnan(false_positives["c"]), "no negative row: nothing to divide by"
    gap = next(gap for gap in found.gaps if gap.metric == "accuracy")
    assert (gap.largest, gap.smallest, gap.difference.value, gap.ratio.value) == ("b", "a", 0.5, 0.5)
    alone = found.metrics["accuracy"]["c"]
    assert math.isnan(alone.low), "one row has no interval"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_fairlearn(seed: int) -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    sklearn = pytest.importorskip("sklearn.metrics")
    groups, gold, said = drawn(300, seed)
    found = by_group("g", groups, answers(said, gold), "spam")
    positive = {"y_true": gold == 0, "y_pred": said == 0, "sensitive_features": groups}
    all_labels = {"y_true": gold, "y_pred": said, "sensitive_features": groups}
    frames = {
        "accuracy": fairlearn.MetricFrame(metrics=sklearn.accuracy_score, **all_labels),
        "macro_f1": fairlearn.MetricFrame(metrics=lambda t, p: sklearn.f1_score(t, p, average="macro"), **all_labels),
        "false_positive_rate": fairlearn.MetricFrame(metrics=fairlearn.false_positive_rate, **positive),
        "false_negative_rate": fairlearn.MetricFrame(metrics=fairlearn.false_negative_rate, **positive),
        "selection_rate[spam]": fairlearn.MetricFrame(metrics=fairlearn.selection_rate, **positive),
    }
    for metric, frame in frames.items():
        assert values(found, metric) == pytest.approx(frame.by_group.to_dict()), metric
        gap = next(gap for gap in found.gaps if gap.metric == metric)
        assert gap.difference.value == pytest.approx(frame.difference(method="between_groups"))
        assert gap.ratio.value == pytest.approx(frame.ratio(method="between_groups"))


def test_intervals_of_large_groups_are_those_of_resampled_rows() -> None:
    groups, gold, said = drawn(4000)
    found = by_group("g", groups, answers(said, gold), None).metrics["macro_f1"]
    generator = np.random.default_rng(1)
    for name in found:
        rows = np.flatnonzero(np.array(groups) == name)
        resampled = [rows[generator.integers(0, len(rows), len(rows))] for _ in range(400)]
        values = [macro_f1(gold[own], said[own]) for own in resampled]
        assert found[name][1:] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.01)


@pytest.mark.full
def test_intervals_of_large_groups_are_fairlearns() -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    sklearn = pytest.importorskip("sklearn.metrics")
    groups, gold, said = drawn(2000)
    found = by_group("g", groups, answers(said, gold), None)
    options = {"n_boot": 400, "ci_quantiles": [0.025, 0.975], "random_state": 0}
    frame = fairlearn.MetricFrame(
        metrics=sklearn.accuracy_score, y_true=gold, y_pred=said, sensitive_features=groups, **options
    )
    low, high = frame.by_group_ci
    for name, estimate in found.metrics["accuracy"].items():
        assert estimate.low == pytest.approx(low[name], abs=0.01)
        assert estimate.high == pytest.approx(high[name], abs=0.01)


def test_without_labels_there_are_selection_rates() -> None:
    groups, _, said = drawn(200)
    found = by_group("g", groups, answers(said, None), "spam")
    assert list(found.metrics) == [f"selection_rate[{label}]" for label in LABELS]
    for place, label in enumerate(LABELS):
        expected = {
            g: np.mean([s == place for own, s in zip(groups, said, strict=True) if own == g]) for g in set(groups)
        }
        assert values(found, f"selection_rate[{label}]") == pytest.approx(expected)


def test_the_same_seed_gives_the_same_intervals() -> None:
    groups, gold, said = drawn(100)
    one, two, other = (by_group("g", groups, answers(said, gold), "spam", seed) for seed in (3, 3, 4))
    assert one == two
    assert one.gaps != other.gaps


def test_too_many_groups_are_refused() -> None:
    groups = [str(i) for i in range(MAX_GROUPS + 1)]
    with pytest.raises(ConfigError, match="ID has 501 values"):
        by_group("ID", groups, answers(np.zeros(len(groups), dtype=int), None), None)


# 300 files each: an interval that covers in 95% of all files does so in fewer than 91% of 300 with a probability below 1%.
REPEATS, LEAST = 300, 0.91


def test_no_gap_of_rates_is_above_one() -> None:
    """Of many small groups the reach alone is more than 1."""
    groups, said = [f"g{i // 3}" for i in range(60)], np.array([0 if i // 3 == 4 else 1 for i in range(60)])
    (gap,) = by_group("g", groups, answers(said, None, ["yes", "no"]), "yes").gaps
    assert (gap.difference.value, gap.difference.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ([100] * 6, [0.2] * 6),  # no group differs: a percentile interval of the gap never holds 0
        ([150, 150], [0.3, 0.5]),
        ([100, 1000], [0.1, 0.1]),
    ],
)
def test_the_interval_of_a_gap_covers(sizes: list[int], shares: list[float]) -> None:
    generator, groups = np.random.default_rng(0), np.repeat(np.arange(len(sizes)).astype(str), sizes).tolist()
    covered, is_ratio_covered = 0, 0
    for seed in range(REPEATS):
        said = (generator.random(len(groups)) > np.repeat(shares, sizes)).astype(int)  # 0 with the group's share
        (gap,) = by_group("g", groups, answers(said, None, ["yes", "no"]), "yes", seed).gaps
        covered += gap.difference.low <= max(shares) - min(shares) <= gap.difference.high
        is_ratio_covered += gap.ratio.low <= min(shares) / max(shares) <= gap.ratio.high
    assert covered / REPEATS >= LEAST
    assert is_ratio_covered / REPEATS >= LEAST


@pytest.mark.parametrize(("size", "share"), [(10, 0.05), (10, 0.3), (30, 0.5), (200, 0.1)])
def test_the_interval_of_a_small_group_covers(size: int, share: float) -> None:
    """Of 10 rows with a rate of 0.05 a plain bootstrap covers 40%: mostly they hold none, and so do its resamples."""
    generator, rest = np.random.default_rng(0), 300
    groups, covered = ["small"] * size + ["rest"] * rest, 0
    for seed in range(REPEATS):
        said = (generator.random(size + rest) > share).astype(int)
        found = by_group("g", groups, answers(said, None, ["yes", "no"]), "yes", seed)
        estimate = found.metrics["selection_rate[yes]"]["small"]
        covered += estimate.low - 1e-9 <= share <= estimate.high + 1e-9
    assert covered / REPEATS >= LEAST


def test_of_share_is_wilsons() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count, total in [(0, 5), (5, 5), (1, 3), (37, 100)]:
        expected = stats.binomtest(count, total).proportion_ci(method="wilson")
        assert of_share(count, total) == pytest.approx((count / total, expected.low, expected.high))
    assert math.isnan(of_share(0, 0).value)


def test_of_mean_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    numbers = np.array([0.1, -0.2, 0.4, 0.0])
    low, high = stats.t.interval(0.95, 3, loc=numbers.mean(), scale=stats.sem(numbers))
    assert of_mean(numbers) == pytest.approx((numbers.mean(), low, high))
    assert of_mean(numbers[:1]).value == 0.1
    assert math.isnan(of_mean(numbers[:1]).low)


def test_of_gap_by_hand() -> None:
    """Deviations have the ranges 0.2 and 0.4: their 95% quantile is 0.39."""
    found = of_gap(np.array([0.1, 0.6]), np.array([[0.2, 0.5], [0.0, 0.8]]), np.array([0.1, 0.6]))
    assert found == pytest.approx((0.5, 0.5 - 0.295, 0.5 + 0.295))


@pytest.mark.parametrize("num_labels", [2, 3])
def test_a_file_without_errors_is_not_known_to_have_none(num_labels: int) -> None:
    """Wilson's interval of 40 of 40 begins at 0.91; of two groups of 20 none is known to be as good as the other one."""
    gold = np.arange(40) % num_labels
    groups = [f"g{i % 2}" for i in range(40)]
    labels = LABELS[:num_labels]
    whole = by_group("all", ["all"] * 40, answers(gold, gold, labels), "spam").metrics
    assert 0.88 < whole["accuracy"]["all"].low < 0.97
    assert whole["false_positive_rate"]["all"].high > 0.03
    assert by_group("group", groups, answers(gold, gold, labels), "spam").gaps[0].difference.high > 0.03


def test_the_interval_of_rows_of_one_label_has_a_width() -> None:
    gold = np.zeros(20, dtype=int)
    assert by_group("all", ["all"] * 20, answers(gold, gold), None).metrics["accuracy"]["all"].low < 0.97


@pytest.mark.parametrize("share", [0.97, 0.9])
def test_the_interval_of_all_rows_covers(share: float) -> None:
    generator = np.random.default_rng(0)
    covered = []
    for seed in range(200):
        gold = generator.integers(0, 2, 40)
        said = np.where(generator.random(40) < share, gold, 1 - gold)
        found = by_group("all", ["all"] * 40, answers(said, gold, LABELS[:2]), None, seed).metrics["accuracy"]["all"]
        covered.append(found.low <= share <= found.high)
    assert 0.91 < np.mean(covered) <= 1
