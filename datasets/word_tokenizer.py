"""Words and punctuation marks by one regular expression, a vocabulary of the frequent ones, and n-grams of them."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.ngrams import NgramTable
from datasets.tokens import Tokens

PAD, UNKNOWN = "<pad>", "<unk>"
PAD_ID, UNKNOWN_ID = 0, 1
WORD = re.compile(r"\w+|[^\w\s]")  # 3.2 million words a second, which no library at hand reached


class WordTokenizer:
    """Words and marks, the frequent ones of the training texts; with ngrams: 2 also pairs of neighbours (Joulin et al. 2016)."""

    def __init__(
        self,
        *,
        lower: bool = True,
        min_count: int = 1,
        max_size: int | None = None,
        ngrams: int = 1,
        ngram_min_count: int = 2,
    ) -> None:
        if min_count < 1 or ngram_min_count < 1:
            raise ValueError(f"min_count and ngram_min_count must be at least 1, got {min_count} and {ngram_min_count}")
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {max_size}")
        if not 1 <= ngrams <= 5:
            raise ValueError(f"ngrams must be between 1 and 5, got {ngrams}")
        self.lower, self.min_count, self.max_size = lower, min_count, max_size
        self.words: list[str] = [PAD, UNKNOWN]
        self.ids = {PAD: PAD_ID, UNKNOWN: UNKNOWN_ID}
        self.ngram_table = NgramTable(ngrams, ngram_min_count)

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to vocab_size - 1: padding, unknown, words, n-grams."""
        return len(self.words) + self.ngram_table.size

    def split(self, text: str) -> list[str]:
        """The words and marks of a text."""
        return WORD.findall(text.lower() if self.lower else text)

    def set_vocabulary(self, counts: Counter[str]) -> None:
        """Keep the max_size most frequent words that occur min_count times; equal counts go by the alphabet."""
        frequent = sorted((-n, word) for word, n in counts.items() if n >= self.min_count)
        words = [word for _, word in frequent[: self.max_size]]
        self.words = [PAD, UNKNOWN, *words]
        self.ids = {word: id for id, word in enumerate(self.words)}

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """Texts -> ids with their n-grams, cut after max_length words; a text without a word is one unknown word."""
        return self.add_ngrams(self.encode_words(texts, max_length))

    def encode_words(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """Texts -> the ids of their words alone."""
        get, split = self.ids.get, self.split
        ids: list[int] = []
        lengths, truncated = np.empty(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=bool)
        for i, text in enumerate(texts):
            words = split(text) or [UNKNOWN]
            truncated[i] = max_length is not None and len(words) > max_length
            words = words[:max_length]
            lengths[i] = len(words)
            ids.extend([get(word, UNKNOWN_ID) for word in words])
        return Tokens.from_lengths(np.array(ids, dtype=np.int32), lengths, truncated)

    def add_ngrams(self, tokens: Tokens) -> Tokens:
        """Words -> words followed by those of their n-grams that are in the vocabulary."""
        return self.ngram_table.extend(tokens, len(self.words))

    def token(self, id: int) -> str:
        """The word, or the words of the n-gram, behind an id."""
        if id < len(self.words):
            return self.words[id]
        return " ".join(self.words[word] for word in self.ngram_table.words(id - len(self.words), len(self.words)))

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs, as plain values."""
        return {"type": "word", "lower": self.lower, "words": self.words[2:], "ngrams": self.ngram_table.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "WordTokenizer":
        """The trained tokenizer that `to_json` described."""
        tokenizer = cls(lower=values["lower"])
        tokenizer.words = [PAD, UNKNOWN, *values["words"]]
        tokenizer.ids = {word: id for id, word in enumerate(tokenizer.words)}
        tokenizer.ngram_table = NgramTable.from_json(values["ngrams"])
        return tokenizer
