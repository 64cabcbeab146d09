"""Options of pre-training: how documents become sequences, and what is predicted."""

from dataclasses import dataclass

from datasets.batches.masking import MaskShare, MaskUnit
from datasets.batches.segments import Pairs
from datasets.rows.split import check_shares


@dataclass(frozen=True, kw_only=True)
class DocumentOptions:
    """How documents are split and cut into sequences.

    split: the shares of training, validation and test where they have no files, by whole articles, books or rows
    split_seed: random seed of the split
    max_length: number of tokens of a sequence, special tokens included
    first_length: number of tokens of a sequence in the first steps, such as 128; null: max_length
    first_steps: number of steps with sequences of first_length
    max_valid: maximum number of sequences that a validation uses, always the same ones; null: all
    cache_folder: for tokens, reused by runs on the same documents
    """

    split: list[float] = (0.98, 0.01, 0.01)  # type: ignore[assignment]
    split_seed: int = 0
    max_length: int = 128
    first_length: int | None = None
    first_steps: int = 0
    max_valid: int | None = None
    cache_folder: str = ".cache"

    def __post_init__(self) -> None:
        check_shares(self.split)
        for name in ("max_length", "first_length"):
            if (value := getattr(self, name)) is not None and value < 8:
                raise ValueError(f"{name} must be at least 8 tokens, got {value}")
        if self.max_valid is not None and self.max_valid < 1:
            raise ValueError(f"max_valid must be at least 1, got {self.max_valid}")
        if self.first_length is not None and self.first_length >= self.max_length:
            raise ValueError(f"first_length must be less than max_length {self.max_length}, got {self.first_length}")
        if self.first_steps < 0 or (self.first_steps > 0) != (self.first_length is not None):
            raise ValueError("first_length and first_steps must be given together, such as 128 and 9000")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Pre-training objective: predict masked tokens, and with pairs also whether one segment follows the other.

    pairs: none: sequences packed full; next_sentence: half of the second segments from another document; sentence_order: swapped
    short_pairs: probability of a pair shorter than max_length
    mask_share: masking rate: fraction of tokens that are masked; {start: 0.3, end: 0.15}: falling from the first step to the last
    mask_unit: what is masked as one: a token, a whole word, or a span of 1 to 3 tokens
    even_masks: mask each token about once in 1 / mask_share epochs, instead of at random
    mask_token: share of the masked tokens that are replaced by [MASK]
    random_token: share of the masked tokens that are replaced by a random token; the rest are left unchanged
    dupe_factor: number of epochs after which the same masks and pairs come again (static masks); null: never
    """

    pairs: Pairs = "none"
    short_pairs: float = 0.1
    mask_share: float | dict[str, float] = 0.15
    mask_unit: MaskUnit = "token"
    even_masks: bool = False
    mask_token: float = 0.8
    random_token: float = 0.1
    dupe_factor: int | None = None

    def __post_init__(self) -> None:
        share = self.mask_share
        if isinstance(share, dict) and share.keys() != {"start", "end"}:
            raise ValueError(f"mask_share must be a number or {{start: 0.3, end: 0.15}}, got {share}")
        for value in share.values() if isinstance(share, dict) else [share]:
            if not 0 < value < 1:
                raise ValueError(f"mask_share must be between 0 and 1, both excluded, got {value}")
        for name in ("short_pairs", "mask_token", "random_token"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.mask_token + self.random_token > 1:
            raise ValueError(
                f"mask_token and random_token must add up to at most 1, got {self.mask_token + self.random_token}"
            )
        if self.dupe_factor is not None and self.dupe_factor < 1:
            raise ValueError(f"dupe_factor must be at least 1, got {self.dupe_factor}")
        if self.even_masks and (isinstance(share, dict) or self.dupe_factor is not None):
            raise ValueError("even_masks needs a fixed mask_share and no dupe_factor")
        if self.even_masks and (self.mask_unit == "span" or self.mask_share > 0.5):  # type: ignore[operator]
            raise ValueError("even_masks needs mask_unit token or word, and a mask_share of at most 0.5")

    @property
    def share(self) -> MaskShare:
        """mask_share at the first step and at the last."""
        given = self.mask_share
        return MaskShare(given["start"], given["end"]) if isinstance(given, dict) else MaskShare(given, given)

    @property
    def even_turns(self) -> int | None:
        """In how many epochs each token is masked once; None where the masks are drawn at random."""
        return round(1 / self.share.start) if self.even_masks else None
