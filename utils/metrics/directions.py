"""Of which metrics more is better, and of which less; which are shares, and how a difference is written."""

from utils.metrics.label_counts import METRICS

HIGHER_IS_BETTER = (*METRICS, "auroc", "mlm_accuracy", "pair_accuracy", "token_accuracy")  # all between 0 and 1, or -1
IN_PERCENT = ("bleu", "chrf")  # of these more is better, too
LOWER_IS_BETTER = (
    "loss",
    "nll",
    "ece",
    "absolute_error",
    "root_mean_squared_error",
    "perplexity",
    "mlm",
    "pairs",
    "bits_per_byte",
)


def direction_of(metric: str) -> str | None:
    """+ where more of a metric is better, - where less is; None for one that is not of this project."""
    if metric in LOWER_IS_BETTER:
        return "-"
    return "+" if metric in (*HIGHER_IS_BETTER, *IN_PERCENT) else None


def is_share(metric: str) -> bool:
    """Whether a metric is a share that is read in percent, and so a difference in points."""
    return metric in HIGHER_IS_BETTER


def points(value: float, metric: str) -> str:
    """A difference with its unit."""
    unit = " points" if is_share(metric) else f" ({metric})"
    return number_of(value, metric) + unit


def number_of(value: float, metric: str) -> str:
    """A difference without its unit: of a share in points."""
    scale = 100 if is_share(metric) else 1
    return f"{scale * value:.1f}" if is_share(metric) or metric in IN_PERCENT else f"{value:.4f}"
