"""Special tokens: our own, and those that a tokenizer puts around a text or a pair, such as BERT's [CLS] a [SEP] b [SEP]."""

from dataclasses import dataclass

import tokenizers
from tokenizers import processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # of a tokenizer that is trained here, with the ids 0 to 4
UNKNOWN_ID = 1

Ids = tuple[int, ...]


@dataclass(frozen=True)
class SpecialTokens:
    """single: the ids before and after a text; pair: those before, between and after two texts."""

    single: tuple[Ids, Ids] = ((), ())
    pair: tuple[Ids, Ids, Ids] = ((), (), ())

    @classmethod
    def of(cls, tokenizer: tokenizers.Tokenizer) -> "SpecialTokens":
        """The special tokens of a library tokenizer, found by encoding examples. Raises ValueError if it reorders texts."""
        before, after = _gaps(tokenizer.encode("a"), [0])
        first, middle, last = _gaps(tokenizer.encode("a", "b"), [0, 1])
        return cls((before, after), (first, middle, last))

    @property
    def ids(self) -> set[int]:
        """The distinct ids."""
        return {id for part in (*self.single, *self.pair) for id in part}

    def num(self, *, is_pair: bool) -> int:
        """Number of special tokens, which count in `max_length`."""
        return sum(map(len, self.pair if is_pair else self.single))


def _gaps(encoding: tokenizers.Encoding, order: list[int]) -> list[Ids]:
    """The special tokens before, between and after the texts, which must come in this order."""
    found: list[int] = []
    gaps: list[list[int]] = [[]]
    for id, text in zip(encoding.ids, encoding.sequence_ids, strict=True):
        if text is None:
            gaps[-1].append(id)
        elif not found or text != found[-1] or gaps[-1]:
            found.append(text)
            gaps.append([])
    if found != order:
        raise ValueError("its post-processor does not keep the order of the texts")
    return [tuple(gap) for gap in gaps]


def around_texts() -> processors.PostProcessor:
    """Post-processor that adds BERT's [CLS] and [SEP]."""
    ids = [(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids)


def unknown_id(tokenizer: tokenizers.Tokenizer) -> int:
    """The id of the unknown token: the model's own (BERT's [UNK] is 100), or that of a special token; else ours."""
    model = tokenizer.model
    named = [getattr(model, "unk_token", None), "[UNK]", "<unk>", "<|endoftext|>"]
    ids = [tokenizer.token_to_id(name) for name in named if name]
    return next((id for id in ids if id is not None), UNKNOWN_ID)
