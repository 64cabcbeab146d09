"""How often a masked language model finds the right sentence of a pair more probable, with intervals."""

from collections.abc import Callable, Sequence
from typing import Any

from agents.language_models.scoring import Scorer
from datasets.sources.minimal_pairs import Pair
from utils.analysis.paired import wilson_interval
from utils.machine.progress_bar import StepBar


def judge(scorer: Scorer, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The accuracy by paradigm, by phenomenon and in all; a tie counts as wrong."""
    for pair in pairs:  # before minutes of scoring
        for sentence in (pair.good, pair.bad):
            scorer.check(sentence, pair.place)
    scores = []
    with StepBar(2 * len(pairs), "scoring", "sentences") as bar:
        for score in scorer.log_likelihoods(sentence for pair in pairs for sentence in (pair.good, pair.bad)):
            scores.append(score)
            if len(scores) % 256 == 0:
                bar.update(len(scores))
    right = [good > bad for good, bad in zip(scores[::2], scores[1::2], strict=True)]
    return {
        "paradigms": _by(pairs, right, lambda pair: pair.paradigm),
        "phenomena": _by(pairs, right, lambda pair: pair.phenomenon),
        "all": _accuracy(right),
    }


def _by(pairs: Sequence[Pair], right: Sequence[bool], key: Callable[[Pair], str]) -> dict[str, Any]:
    groups: dict[str, list[bool]] = {}
    for pair, is_right in zip(pairs, right, strict=True):
        groups.setdefault(key(pair), []).append(is_right)
    return {name: _accuracy(found) for name, found in sorted(groups.items())}


def _accuracy(right: Sequence[bool]) -> dict[str, float]:
    """With its 95% interval (Wilson 1927)."""
    low, high = wilson_interval(sum(right), len(right))
    return {"accuracy": sum(right) / len(right), "low": low, "high": high, "pairs": len(right)}
