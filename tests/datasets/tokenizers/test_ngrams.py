"""The n-gram table against the plain definition, word by word in Python."""

from collections import Counter

import numpy as np
import pytest
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st
from token_cases import as_lists, trained_on

from datasets.tokenizers.ngrams import NgramTable
from datasets.tokenizers.tokens import Tokens
from datasets.tokenizers.word import UNKNOWN_ID

Texts = list[list[int]]


def tokens_of(texts: Texts) -> Tokens:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return Tokens.from_lengths(
        np.array([id for text in texts for id in text], dtype=np.int32), lengths, np.zeros(len(texts), dtype=bool)
    )


def occurrences(text: list[int], n: int) -> list[tuple[int, ...]]:
    """The n-grams of one text, in order, that hold neither padding nor an unknown word."""
    grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    return [gram for gram in grams if min(gram) > UNKNOWN_ID]


def brute_force(train: Texts, texts: Texts, order: int, min_count: int) -> list[list[tuple[int, ...]]]:
    """What `extend` adds to each text: pairs, then triples, ... of those that the training texts hold often enough."""
    counts = Counter(gram for n in range(2, order + 1) for text in train for gram in occurrences(text, n))
    return [
        [gram for n in range(2, order + 1) for gram in occurrences(text, n) if counts[gram] >= min_count]
        for text in texts
    ]


def fitted(train: Texts, num_words: int, order: int, min_count: int, num_parts: int = 1) -> NgramTable:
    table = NgramTable(order, min_count)
    for level in range(2, order + 1):
        table.fit([tokens_of(train[i::num_parts]) for i in range(num_parts)], num_words, level)
    return table


NUM_WORDS = 6
TEXTS = st.lists(st.lists(st.integers(0, NUM_WORDS - 1), min_size=1, max_size=12), min_size=1, max_size=8)


@ANY
@given(train=TEXTS, texts=TEXTS, min_count=st.integers(1, 3), num_parts=st.integers(1, 3))
@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_table_holds_and_finds_what_the_definition_says(
    order: int, train: Texts, texts: Texts, min_count: int, num_parts: int
) -> None:
    table = fitted(train, NUM_WORDS, order, min_count, num_parts)
    texts = [*train, *texts]
    extended = as_lists(table.extend(tokens_of(texts), NUM_WORDS))
    for text, ids, expected in zip(texts, extended, brute_force(train, texts, order, min_count), strict=True):
        assert ids[: len(text)] == text
        assert [tuple(table.words(id - NUM_WORDS, NUM_WORDS)) for id in ids[len(text) :]] == expected


@ANY
@given(train=TEXTS, min_count=st.integers(1, 3))
def test_every_ngram_has_an_id_of_its_own_and_survives_saving(train: Texts, min_count: int) -> None:
    table = fitted(train, NUM_WORDS, 3, min_count)
    words = [tuple(table.words(index, NUM_WORDS)) for index in range(table.size)]
    counts = Counter(gram for n in (2, 3) for text in train for gram in occurrences(text, n))
    assert sorted(words) == sorted(gram for gram, count in counts.items() if count >= min_count)
    again = NgramTable.from_json(table.to_json())
    assert [tuple(again.words(index, NUM_WORDS)) for index in range(again.size)] == words


def test_no_ngram_reaches_into_the_next_text() -> None:
    table = fitted([[2, 3], [4, 5], [2, 3], [4, 5]], NUM_WORDS, 2, 1)
    assert [table.words(index, NUM_WORDS) for index in range(table.size)] == [[2, 3], [4, 5]]


def test_large_vocabularies_do_not_mix_ngrams_up() -> None:
    """The number of a triple is far beyond 32 bits here."""
    num_words = 3_000_000
    train = [[num_words - 1, num_words - 2, num_words - 3], [num_words - 2, num_words - 3, num_words - 1]]
    table = fitted(train, num_words, 3, 1)
    (first, second) = as_lists(table.extend(tokens_of(train), num_words))
    assert [table.words(id - num_words, num_words) for id in first[3:]] == [train[0][:2], train[0][1:], train[0]]
    assert [table.words(id - num_words, num_words) for id in second[3:]] == [train[1][:2], train[1][1:], train[1]]


def test_the_tokenizer_names_ngrams_by_their_words() -> None:
    tokenizer = trained_on(["the cat sat", "the cat sat", "cat the"], ngrams=3, ngram_min_count=2)
    (ids,) = as_lists(tokenizer.encode(["The cat sat."]))
    names = [tokenizer.token(id) for id in ids]
    assert names == ["the", "cat", "sat", "<unk>", "the cat", "cat sat", "the cat sat"]
    assert tokenizer.vocab_size == len(tokenizer.words) + 3


def test_ngrams_are_those_of_what_is_left_after_the_cut() -> None:
    tokenizer = trained_on(["the cat sat", "the cat sat"], ngrams=2)
    (ids,) = as_lists(tokenizer.encode(["the cat sat"], max_length=2))
    assert [tokenizer.token(id) for id in ids] == ["the", "cat", "the cat"]


def test_codes_of_large_vocabularies_do_not_wrap() -> None:
    num_words, pair = 100_000, 70_000  # the last pair and its number times the number of words are beyond 32 bits
    table = NgramTable(3, 1)
    table.codes = [np.arange(pair + 1) * 10 + 2 * num_words + 2, np.array([pair * num_words + 5])]
    first, second = divmod(int(table.codes[0][-1]), num_words)
    (ids,) = as_lists(table.extend(tokens_of([[first, second, 5]]), num_words))
    assert ids == [first, second, 5, num_words + pair, num_words + pair + 1]
