"""BLEU and chrF by sacrebleu: the options that a score depends on. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Any

from utils.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How generated texts are compared with their references.

    tokenize: how BLEU splits words (sacrebleu): 13a, intl, char, zh, ja-mecab, or none for text that is tokenised already
    lowercase: ignore the case, in BLEU and chrF
    valid_beam_size: beam size in validation during training; 1: greedy search, the fastest
    """

    tokenize: str = "13a"
    lowercase: bool = False
    valid_beam_size: int = 1

    def __post_init__(self) -> None:
        if self.valid_beam_size < 1:
            raise ValueError(f"valid_beam_size must be at least 1, got {self.valid_beam_size}")
        known = ("13a", "intl", "char", "zh", "ja-mecab", "ko-mecab", "none")
        if self.tokenize not in known:
            raise ValueError(f"tokenize must be one of {', '.join(known)}, got {self.tokenize!r}")


def scorers(options: ScoringOptions) -> dict[str, Any]:
    """sacrebleu's BLEU and chrF. Raises ConfigError where that package is missing."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise ConfigError("metrics bleu and chrf need the package sacrebleu: pip install sacrebleu") from None
    try:
        # force: no advice about text that looks tokenised.
        bleu = BLEU(tokenize=options.tokenize, lowercase=options.lowercase, force=True)
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"scoring.tokenize: {options.tokenize}: {' '.join(str(error).split())}") from None
    return {"bleu": bleu, "chrf": CHRF(lowercase=options.lowercase)}
