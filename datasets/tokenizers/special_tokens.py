"""The special tokens that a tokenizer puts around a text or a pair, such as BERT's [CLS] a [SEP] b [SEP]."""

from dataclasses import dataclass

import tokenizers

Ids = tuple[int, ...]


@dataclass(frozen=True)
class SpecialTokens:
    """single: the ids before and after a text; pair: those before, between and after two texts."""

    single: tuple[Ids, Ids] = ((), ())
    pair: tuple[Ids, Ids, Ids] = ((), (), ())

    @classmethod
    def of(cls, tokenizer: tokenizers.Tokenizer) -> "SpecialTokens":
        """What a tokenizer of the library adds, found by trying. Raises ValueError for one that takes texts in another order."""
        before, after = _gaps(tokenizer.encode("a"), [0])
        first, middle, last = _gaps(tokenizer.encode("a", "b"), [0, 1])
        return cls((before, after), (first, middle, last))

    @property
    def ids(self) -> set[int]:
        """All of them."""
        return {id for part in (*self.single, *self.pair) for id in part}

    def num(self, *, is_pair: bool) -> int:
        """How many tokens of `max_length` they take."""
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
        raise ValueError("its post-processor does not take a text, or two, in their order")
    return [tuple(gap) for gap in gaps]
