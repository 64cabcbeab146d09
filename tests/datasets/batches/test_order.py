"""The order of examples: a pure function of (seed, epoch), every text once, and resume its tail."""

from typing import Any

import numpy as np
import pytest
import torch
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st

from datasets.batches.order import epoch_batches, ordered_batches

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=80).map(np.array)
SIZES = st.fixed_dictionaries({"batch_size": st.integers(1, 20), "batch_tokens": st.none() | st.integers(1, 200)})


def fixed(num_texts: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 300, num_texts)


def as_lists(batches: list[np.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@ANY
@given(lengths=LENGTHS, sizes=SIZES, seed=st.integers(0, 2**40), epoch=st.integers(0, 9))
def test_every_text_is_in_exactly_one_batch(lengths: np.ndarray, sizes: dict[str, Any], seed: int, epoch: int) -> None:
    for batches in (epoch_batches(lengths, **sizes, seed=seed, epoch=epoch), ordered_batches(lengths, **sizes)):
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(len(lengths)))


@ANY
@given(lengths=LENGTHS, sizes=SIZES, seed=st.integers(0, 9))
def test_no_batch_is_larger_than_asked_for(lengths: np.ndarray, sizes: dict[str, Any], seed: int) -> None:
    for batches in (epoch_batches(lengths, **sizes, seed=seed, epoch=0), ordered_batches(lengths, **sizes)):
        for batch in batches:
            assert len(batch) > 0
            if sizes["batch_tokens"] is None:
                assert len(batch) <= sizes["batch_size"]
            else:
                assert len(batch) * lengths[batch].max() <= sizes["batch_tokens"] or len(batch) == 1


@ANY
@given(lengths=LENGTHS, sizes=SIZES, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_the_order_is_a_function_of_seed_and_epoch_alone(
    lengths: np.ndarray, sizes: dict[str, Any], seed: int, epoch: int
) -> None:
    first = epoch_batches(lengths, **sizes, seed=seed, epoch=epoch)
    torch.manual_seed(seed + 1)
    state = torch.get_rng_state()
    epoch_batches(lengths, **sizes, seed=seed, epoch=epoch + 1)
    again = epoch_batches(lengths, **sizes, seed=seed, epoch=epoch)
    assert as_lists(first) == as_lists(again)
    assert torch.equal(torch.get_rng_state(), state)  # torch's own generator, which dropout uses, is not touched


@pytest.mark.parametrize("sizes", [{"batch_size": 8, "batch_tokens": None}, {"batch_size": 8, "batch_tokens": 1000}])
@pytest.mark.parametrize(("num_texts", "share"), [(200, 0.3), (1000, 0.02)])  # of few texts some come together again
def test_no_two_epochs_or_seeds_have_the_same_batches(num_texts: int, share: float, sizes: dict[str, Any]) -> None:
    lengths = fixed(num_texts)
    places = [(seed, epoch) for seed in range(3) for epoch in range(3)]
    orders = [epoch_batches(lengths, **sizes, seed=seed, epoch=epoch) for seed, epoch in places]
    contents = [{frozenset(batch.tolist()) for batch in batches if len(batch) > 1} for batches in orders]
    for i, first in enumerate(contents):
        for second in contents[:i]:
            assert len(first & second) <= share * len(first)


def test_a_full_epoch_has_full_batches() -> None:
    batches = epoch_batches(fixed(1003), batch_size=10, batch_tokens=None, seed=0, epoch=0)
    assert sorted(map(len, batches)) == [3] + [10] * 100


def padding_share(batches: list[np.ndarray], lengths: np.ndarray) -> float:
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - int(lengths.sum()) / padded


def test_texts_of_like_length_come_together_but_not_always_with_the_same() -> None:
    lengths = fixed(5000)
    shuffled = np.array_split(np.random.default_rng(1).permutation(5000), 5000 // 20)
    batches = epoch_batches(lengths, batch_size=20, batch_tokens=None, seed=0, epoch=0)
    assert padding_share(shuffled, lengths) > 0.4
    assert padding_share(batches, lengths) < 0.1
    means = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2  # the lengths of successive batches are not sorted


def test_evaluation_begins_with_the_longest_text() -> None:
    lengths = fixed(100)
    batches = ordered_batches(lengths, batch_size=7, batch_tokens=None)
    np.testing.assert_array_equal(lengths[np.concatenate(batches)], np.sort(lengths)[::-1])


@pytest.mark.parametrize("batch_tokens", [None, 10])
def test_no_texts_are_no_batches(batch_tokens: int | None) -> None:
    none = np.zeros(0, dtype=np.int64)
    assert epoch_batches(none, batch_size=3, batch_tokens=batch_tokens, seed=0, epoch=0) == []
    assert ordered_batches(none, batch_size=3, batch_tokens=batch_tokens) == []
