"""The smallest true difference in accuracy that a test set and a number of seeds can show, computed before anything is trained."""

import math

import numpy as np
from scipy import optimize, special

from utils.analysis.paired import POWER, t_quantile

NUM_POINTS = 100  # of the distribution of a variance that is estimated from few seeds
OF_INDEPENDENT = 0.5  # disagreement of real pairs of models, as a share of that of models with independent errors


def assumed_disagreement(accuracy: float) -> float:
    """Share of rows that exactly one of two models answers right, where nothing is known of them but their accuracy.

    Models with independent errors would differ on 2 accuracy (1 - accuracy) of the rows. Real ones share the difficult rows: pairs
    of different models (configs/boe.yaml's on all and on half of the rows, logistic regression, naive Bayes) on five public sets
    differed on 0 to 0.62 of that, most of them on 0.3 to 0.5. So half of it is rather too much, which is the safe side.
    """
    return OF_INDEPENDENT * 2 * accuracy * (1 - accuracy)


def smallest_difference(
    num_rows: int,
    num_seeds: int,
    accuracy: float,
    seed_deviation: float = 0.0,
    disagreement: float | None = None,
    seed_disagreement: float = 0.0,
) -> float:
    """The true difference in accuracy that `comparing` calls different at 0.05 in 80% of the cases; nan for none below 1.

    accuracy: about that of both configs; seed_deviation: standard deviation of the accuracy over seeds on the same rows (with one
    seed the test does not see it); disagreement: share of rows that exactly one of two runs answers right, one of each config
    (None: `assumed_disagreement`); seed_disagreement: the same for two runs of one config. 0 is on the safe side.

    With k seeds, n rows, disagreement d and seed_disagreement e, the difference D of the mean accuracies has the variance
    (d - (1 - 1/k) e - D^2) / n over rows (Miller 2024, https://arxiv.org/abs/2411.00640, for k = 1; the pairing as in Card et al.
    2020, https://aclanthology.org/2020.emnlp-main.745) and 2 (s^2 - e / 2n) / k over seeds, where e / 2n is what a run's accuracy
    varies by through single rows alone. D is normal; the test's own estimate of the second variance has the chi-squared
    distribution of k - 1 degrees of freedom on each side, and the test widens it by a quantile of Student's t. With one seed the
    result is the known 2.8 standard errors. With two it is somewhat too large (power 0.80 to 0.86 in simulations).

    Raises ValueError for counts below 1 and for shares outside of 0 to 1.
    """
    apart = assumed_disagreement(accuracy) if disagreement is None else disagreement
    _check(num_rows, num_seeds, accuracy, seed_deviation, apart, seed_disagreement)
    of_one = seed_disagreement / (2 * num_rows)

    def lack(difference: float) -> float:
        differing = max(apart, difference)  # a difference needs at least as many rows to show in
        of_rows = (differing - (1 - 1 / num_seeds) * seed_disagreement - difference**2) / num_rows
        return POWER - _power(difference, max(0.0, of_rows), seed_deviation**2, of_one, num_seeds)

    return float(optimize.brentq(lack, 0.0, 1.0)) if lack(1.0) < 0 < lack(0.0) else math.nan


def _check(num_rows: int, num_seeds: int, *shares: float) -> None:
    if num_rows < 1 or num_seeds < 1:
        raise ValueError(f"num_rows and num_seeds must be at least 1, got {num_rows} and {num_seeds}")
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(
            f"accuracy, deviation and disagreements must be between 0 and 1, got {', '.join(map(str, shares))}"
        )


def _power(difference: float, of_rows: float, of_seeds: float, of_one: float, num_seeds: int) -> float:
    """How often the test rejects. of_rows: variance over rows; of_seeds: of a seed's accuracy, of_one of it by single rows."""
    wide, estimated, total = 1.0, np.zeros(1), of_rows
    if num_seeds > 1:
        wide = t_quantile(2 * num_seeds - 2) / t_quantile(math.inf)  # as `paired.over_both` does
        drawn = special.chdtri(num_seeds - 1, (np.arange(NUM_POINTS) + 0.5) / NUM_POINTS) / (num_seeds - 1)
        side = (
            np.maximum(0.0, of_seeds * drawn - of_one) / num_seeds
        )  # (P,), as `paired.variance_of_seeds` estimates it
        estimated = side[:, None] + side  # (P, P): both sides
        total += 2 * max(0.0, of_seeds - of_one) / num_seeds
    if not total:
        return float(difference > 0)
    reach = t_quantile(math.inf) * np.sqrt(of_rows + wide**2 * estimated)
    return float(np.mean(special.ndtr((difference - reach) / math.sqrt(total))))
