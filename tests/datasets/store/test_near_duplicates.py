"""Phrases of the same sentences on two sides are said; texts of one subject, short texts and repeated words are not."""

import itertools

import numpy as np
import pytest

from datasets.store import near_duplicates
from datasets.store.near_duplicates import describe_near_duplicates
from datasets.tokenizers.tokens import Tokens

RNG = np.random.default_rng(0)
UNKNOWN_ID = 1


def tokens(texts: list[list[int]]) -> Tokens:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.array(list(itertools.chain.from_iterable(texts)), dtype=np.int32)
    return Tokens.from_lengths(ids, lengths, np.zeros(len(texts), dtype=bool))


def drawn(num_texts: int, num_tokens: int = 20, vocabulary: int = 500) -> list[list[int]]:
    """Texts whose words are as unequally frequent as real ones are."""
    return [(2 + RNG.zipf(1.3, num_tokens) % vocabulary).tolist() for _ in range(num_texts)]


def lines(valid: list[list[int]], train: list[list[int]], test: list[list[int]] | None = None) -> list[str]:
    splits = {"valid": tokens(valid), "test": tokens(test or [])}
    return describe_near_duplicates(splits, tokens(train), [UNKNOWN_ID])


SENTENCES = drawn(600)
PHRASES = [sentence[i % 5 : i % 5 + 12] for i, sentence in enumerate(SENTENCES[:300])]
CHANGED = [[*sentence[:19], 900 + i] for i, sentence in enumerate(SENTENCES[:300])]  # the last word is another one
NEW, SHORT = drawn(300), [sentence[:7] for sentence in SENTENCES[:300]]
FIXED = [[1] * 20] * 300


def test_phrases_and_copies_are_said_with_their_share() -> None:
    assert lines(PHRASES, SENTENCES)[0].startswith(
        "100% of the longer texts of valid appear almost whole in a text of train"
    )
    assert lines(CHANGED, SENTENCES)[0].startswith("100% of the longer texts of valid")
    assert lines(NEW, SENTENCES, PHRASES + NEW)[0].startswith("50% of the longer texts of test")
    assert lines(NEW[:200] + PHRASES[:20], SENTENCES) == []  # a few are no fault of the split
    assert len(lines(PHRASES, SENTENCES, CHANGED)) == 2


@pytest.mark.parametrize("valid", [NEW, SHORT, FIXED, PHRASES[:40], []], ids=["new", "short", "unknown", "few", "none"])
def test_nothing_is_said_of_others(valid: list[list[int]]) -> None:
    assert lines(valid, SENTENCES + FIXED) == []


def test_runs_of_many_training_texts_make_no_near_duplicate() -> None:
    pieces = [list(range(10 * i, 10 * i + 10)) for i in range(1, 50)]
    train = [piece + text for piece, text in zip(pieces * 10, drawn(490), strict=True)]
    valid = [[id for j in RNG.permutation(49)[:4] for id in pieces[j]] for _ in range(100)]
    assert lines(valid, train) == []


def test_shares_are_those_of_sets() -> None:
    valid, train = drawn(60, 30, 12), drawn(40, 30, 12)

    def runs(text: list[int]) -> set[tuple[int, ...]]:
        return {tuple(text[i : i + 5]) for i in range(len(text) - 4)}

    sample = near_duplicates._sample(tokens(valid), [UNKNOWN_ID])
    numbers = {int(near_duplicates._codes(np.array(run))[0]): run for text in valid for run in runs(text)}
    expected = [
        max(len({numbers[int(c)] for c in codes} & runs(text)) for text in train) / len(codes) for codes in sample
    ]
    assert len(sample) == 60
    np.testing.assert_allclose(near_duplicates._shares_in_one(sample, tokens(train)), expected)


def test_a_large_training_split_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK", 100)
    monkeypatch.setattr(near_duplicates, "MAX_TOKENS", 6000)  # half of 600 texts
    (line,) = lines(PHRASES, SENTENCES)
    assert 30 < int(line.partition("%")[0]) < 70
