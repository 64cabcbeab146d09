"""Tokens and splits that several tests here compare."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st

from datasets.store.store import SplitData
from datasets.tokenizers.tokens import Tokens
from datasets.tokenizers.word import WordTokenizer

WORDS = ["The cat sat on the mat.", "the dog sat!", "A cat, a dog", "sat the cat"]


def trained_on(texts: list[str] = WORDS, **options: Any) -> WordTokenizer:
    """A tokenizer with the vocabulary, and where it has them the n-grams, of some texts."""
    tokenizer = WordTokenizer(**options)
    tokenizer.set_vocabulary(Counter(word for text in texts for word in tokenizer.split(text)))
    for level in range(2, tokenizer.ngram_table.order + 1):
        tokenizer.ngram_table.fit([tokenizer.encode_words(texts)], len(tokenizer.words), level)
    return tokenizer


def as_lists(tokens: Tokens) -> list[list[int]]:
    return [tokens.text(i).tolist() for i in range(len(tokens))]


def assert_same(first: Tokens, second: Tokens) -> None:
    for name in ("ids", "offsets", "truncated"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


TEXTS = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=30)


Texts = list[list[int]]


def tokens_of(texts: Texts) -> Tokens:
    flat = np.array([id for text in texts for id in text], dtype=np.int32)
    return Tokens.from_lengths(flat, np.array([len(text) for text in texts]), np.zeros(len(texts), dtype=bool))


def split_of(texts: Texts, num_fields: int = 1) -> SplitData:
    """Every field holds the texts, the second one reversed; label i is 10 * i."""
    fields = [tokens_of(texts), tokens_of([text[::-1] for text in texts])][:num_fields]
    return SplitData(fields, {"label": np.arange(len(texts)) * 10}, np.arange(len(texts)) + 1000)
