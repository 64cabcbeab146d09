"""Do predictions depend on the words with the highest scores? Comprehensiveness and sufficiency, beside as many random words.

DeYoung et al. 2020 (ERASER, https://aclanthology.org/2020.acl-main.408), section 4, at one share of the words. N: texts.

A deletion removes words and the white space before them from what the model reads of a text; the rest is tokenised again.
"""

from typing import Any

import numpy as np

from agents.explaining.attribution import Explainer, Explanation
from utils.analysis.paired import LEVEL, over_rows, row_weights

SHARE = 0.1  # of a text's words, at least one
DRAWS = 10  # of random words for each text
NAMES = ("comprehensiveness", "random_comprehensiveness", "sufficiency", "random_sufficiency")


class Faithfulness:
    """Collects what deletions do to the predictions for texts."""

    def __init__(self, explainer: Explainer, seed: int = 0) -> None:
        self.explainer, self.generator = explainer, np.random.default_rng(seed)
        self.falls: list[np.ndarray] = []  # of each text (4,), see NAMES

    def add(self, found: Explanation) -> None:
        """Delete a text's words with the highest scores, and random ones. A text without a word has nothing to delete."""
        read = np.flatnonzero(found.reading.is_read)
        if not len(read):
            return
        count = max(1, round(SHARE * len(read)))
        best = read[np.argsort(-found.scores[read], kind="stable")[:count]]
        chosen = [best, *(self.generator.choice(read, count, replace=False) for _ in range(DRAWS))]
        masks = [np.isin(np.arange(len(found.scores)), words) for words in chosen]
        everything = np.ones(len(found.scores), dtype=bool)
        records = [found.reading.keeping(mask) for mask in (everything, *(~mask for mask in masks), *masks)]
        whole, *others = self.explainer.values(self.explainer.evidence_of(records, found.label)).tolist()
        falls = (whole - np.array(others)).reshape(2, 1 + DRAWS)  # without the words, with them alone
        self.falls.append(np.stack([falls[:, 0], falls[:, 1:].mean(axis=1)], axis=1).ravel())

    def summary(self) -> dict[str, Any]:
        """The mean over texts of each fall of the probability, or the number, and its 95% interval (a bootstrap over texts).

        ratio: comprehensiveness over that of random words, null where that is not positive; its upper end is null where that of
        random words may be 0.
        """
        found: dict[str, Any] = {"texts": len(self.falls), "share": SHARE, "draws": DRAWS}
        if not self.falls:
            return found
        falls = np.stack(self.falls)  # (N, 4)
        means = falls.mean(axis=0)
        drawn = row_weights(len(falls)) @ falls / len(falls)  # (B, 4)
        for i, name in enumerate(NAMES):
            interval = over_rows(np.zeros(len(drawn)), drawn[:, i], float(means[i]))
            found[name] = {"mean": interval.difference} | self._ends(interval.low, interval.high)
        found["ratio"] = None
        if means[1] > 0:
            unbounded = np.copysign(np.inf, drawn[:, 0])
            ratios = np.divide(drawn[:, 0], drawn[:, 1], out=unbounded, where=drawn[:, 1] > 0)
            low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest").tolist()
            found["ratio"] = {"mean": float(means[0] / means[1])} | self._ends(low, high)
        return found

    def _ends(self, *ends: float) -> dict[str, float | None]:
        """The ends of an interval; None of one text, which says nothing of others, and of one without a bound."""
        is_known = len(self.falls) > 1
        return {
            name: end if is_known and np.isfinite(end) else None
            for name, end in zip(("low", "high"), ends, strict=True)
        }
