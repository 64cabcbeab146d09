"""Sets of labels that hold the gold one with a promised probability: split conformal prediction (Vovk et al. 2005).

The score is that of Sadinle, Lei and Wasserman 2019 ("LAC"): 1 - the probability of the gold label, which gives the smallest sets
on average. If the texts are drawn like those of the validation split, a set holds the gold label with a probability between the
coverage and coverage + 1 / (N + 1), N the number of validation rows. A set may be empty.
"""

import math
from collections.abc import Sequence

from utils.errors import ConfigError


def least_probability(gold: Sequence[float], coverage: float) -> float:
    """The probability from which a label is in the set. gold: those of the gold labels of the validation rows, ascending.

    It is the ceil((N + 1) * coverage)-th largest of them. Raises ConfigError where N is too small for that.
    """
    rank = math.ceil(round((len(gold) + 1) * coverage, 9))  # 100 * 0.55 is 55.00000000000001
    if rank > len(gold):
        least = math.ceil(round(coverage / (1 - coverage), 9))
        raise ConfigError(
            f"command line: --coverage {coverage:g} needs at least {least} validation rows, the run has {len(gold)}"
        )
    return gold[len(gold) - rank]
