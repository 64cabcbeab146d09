"""How text is generated, and what comes out: options and hypotheses."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

OF_SAMPLE, OF_SEARCH = ("temperature", "top_k", "top_p"), ("with_greedy", "early_stop")


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How text is generated.

    beam_size: number of hypotheses that beam search keeps at each step; 1: greedy search
    length_penalty: exponent of the length, by which a target's log-probability is divided; several: best on validation
    with_greedy: also search greedily, and take that target where its score is higher: beam search may lose it, in 1% of sentences
    early_stop: stop at beam_size complete hypotheses, instead of when no other can still score higher
    sample: draw each token at random instead of searching
    temperature: of sampling: logits are divided by it
    top_k: of sampling: draw from the k most probable tokens; null: from all
    top_p: of sampling: draw from the most probable tokens that together have this probability (Holtzman et al. 2020)
    max_length: maximum number of tokens of a target, its prefix and its end included
    min_length: minimum number of tokens of a target before its end, its prefix included
    no_repeat_ngram: size of n-grams of tokens that may not occur twice in a target; 0: no limit
    """

    beam_size: int = 5
    length_penalty: float | list[float] = 1.0
    with_greedy: bool = False
    early_stop: bool = False
    sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    max_length: int = 100
    min_length: int = 0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        for name, least in {"beam_size": 1, "max_length": 1, "min_length": 0, "no_repeat_ngram": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.min_length >= self.max_length:
            raise ValueError(f"min_length must be less than max_length {self.max_length}, got {self.min_length}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        drawn = [name for name in OF_SAMPLE if getattr(self, name) != getattr(type(self), name)]
        if drawn and not self.sample:
            raise ValueError(f"{drawn[0]} is of drawing tokens at random; give sample: true")
        searched = [name for name in OF_SEARCH if getattr(self, name)]
        if searched and self.sample:
            raise ValueError(f"{searched[0]} is of searching; give sample: false")
        if not self.length_penalties or not all(0 <= each < math.inf for each in self.length_penalties):
            raise ValueError(f"length_penalty must not be negative, and finite, got {self.length_penalty}")

    def searching(self, **changes: Any) -> "GenerationOptions":
        """The same, without drawing at random."""
        return replace(self, sample=False, temperature=1.0, top_k=None, top_p=1.0, **changes)

    def sampling(self, **changes: Any) -> "GenerationOptions":
        """The same, drawing at random."""
        return replace(self, sample=True, with_greedy=False, early_stop=False, **changes)

    @property
    def length_penalties(self) -> list[float]:
        """Those to choose from."""
        return self.length_penalty if isinstance(self.length_penalty, list) else [self.length_penalty]

    def in_use(self) -> dict[str, Any]:
        """The options on which the texts depend, by name."""
        names = ["max_length", "min_length", "no_repeat_ngram"]
        if self.sample:
            return {"sample": True} | {name: getattr(self, name) for name in (*OF_SAMPLE, *names)}
        names = ["beam_size", *OF_SEARCH, *names]
        return {"length_penalty": self.exponent} | {name: getattr(self, name) for name in names}

    @property
    def exponent(self) -> float:
        """The length penalty in use, the first one where there are several."""
        return self.length_penalties[0]


class Hypothesis(NamedTuple):
    """A generated target: ids without those that it began with and its end; log_probability: of all that was generated, the end
    included; score: what beam search ranks by; is_complete: whether the end was generated, or max_length has cut it."""

    ids: list[int]
    log_probability: float
    score: float
    is_complete: bool

    @classmethod
    def of(cls, generated: list[int], log_probability: float, end_id: int, length_penalty: float) -> "Hypothesis":
        """generated: the ids, with the end if it was generated."""
        is_complete = generated[-1] == end_id
        score = score_of(log_probability, len(generated), length_penalty)
        return cls(generated[: len(generated) - is_complete], log_probability, score, is_complete)


def score_of(log_probability: float, length: int, length_penalty: float) -> float:
    """log P(y | x) / |y|^length_penalty, as in transformers and Marian; length: of generated tokens, the end included."""
    return log_probability / length**length_penalty
