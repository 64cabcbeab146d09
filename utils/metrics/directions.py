"""Of which metrics more is better, and of which less."""

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
