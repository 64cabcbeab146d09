"""The split: seeded, stratified, independent of the order of the rows, and equal texts on one side."""

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st

from datasets.rows.split import SPLITS, UNUSED, assign, folds, nested_places, text_key

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def keys_of(texts: list[str]) -> np.ndarray:
    return np.array([text_key([text]) for text in texts], dtype=np.uint64)


def distinct(num_texts: int, num_labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Keys of different texts, and labels of very different frequency."""
    labels = np.random.default_rng(0).geometric(0.5, num_texts).clip(max=num_labels) - 1
    return keys_of([f"text {i}" for i in range(num_texts)]), labels


def sizes(split: np.ndarray) -> list[int]:
    return [int((split == i).sum()) for i in range(len(SPLITS))]


@pytest.mark.parametrize("num_texts", [10, 100, 1000, 4321])
def test_the_shares_are_those_asked_for_in_every_label(num_texts: int) -> None:
    keys, labels = distinct(num_texts)
    split = assign(keys, labels, SHARES, seed=0)
    for label in np.unique(labels):
        of_label = split[labels == label]
        for i, name in enumerate(SPLITS):
            assert abs(int((of_label == i).sum()) - SHARES[name] * len(of_label)) <= 1
    assert (split != UNUSED).all()


@pytest.mark.parametrize("shares", [(0.34, 0.33, 0.33), (0.5, 0.25, 0.25), (0.4, 0.6, 0.0), (0.8, 0.1, 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_a_label_with_one_text_is_learnt_however_small_the_share_of_training(
    shares: tuple[float, float, float], seed: int
) -> None:
    """The middle of its one row lies beyond a share of a half; stratified by rows alone it is tested and never learnt."""
    keys, labels = keys_of([f"text {i}" for i in range(60)]), np.array([0] * 29 + [1] * 29 + [2, 3])
    split = assign(keys, labels, dict(zip(SPLITS, shares, strict=True)), seed)
    assert set(labels[split == 0]) == {0, 1, 2, 3}
    assert np.abs(np.array(sizes(split)) - 60 * np.array(shares)).max() <= 1


def test_exact_shares_of_one_label() -> None:
    keys, _ = distinct(100)
    assert sizes(assign(keys, np.zeros(100, dtype=np.int64), SHARES, seed=3)) == [80, 10, 10]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"train": 1.0, "valid": 0.0, "test": 0.0}, [100, 0, 0]),
        ({"train": 0.5, "valid": 0.5, "test": 0.0}, [50, 50, 0]),
        ({"train": 0.8, "test": 0.2}, [80, 0, 20]),  # valid has a file of its own
        ({"train": 0.6, "valid": 0.2}, [75, 25, 0]),  # so has test: the shares that are left are scaled up
        ({"valid": 1.0}, [0, 100, 0]),
    ],
)
def test_a_split_without_a_share_gets_nothing(shares: dict[str, float], expected: list[int]) -> None:
    keys, _ = distinct(100)
    assert sizes(assign(keys, np.zeros(100, dtype=np.int64), shares, seed=0)) == expected


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    keys, labels = distinct(500)
    first, same, other = (assign(keys, labels, SHARES, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    test_rows = [set(np.flatnonzero(split == 2)) for split in (first, other)]
    assert len(test_rows[0] & test_rows[1]) < 0.3 * len(test_rows[0])  # by chance it is a tenth


LABELLED = st.lists(st.tuples(st.sampled_from("abcdefghijklm"), st.integers(0, 3)), min_size=1, max_size=60)
LIMITS = st.none() | st.integers(1, 60)


@ANY
@given(rows=LABELLED, limit=LIMITS, seed=st.integers(0, 5), data=st.data())
def test_the_order_of_the_rows_does_not_matter(
    rows: list[tuple[str, int]], limit: int | None, seed: int, data: Any
) -> None:
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    keys, labels = keys_of([text for text, _ in rows]), np.array([label for _, label in rows])
    split = assign(keys, labels, SHARES, seed, limit)
    shuffled = assign(keys[order], labels[order], SHARES, seed, limit)

    def dealt(split: np.ndarray, rows: list[tuple[str, int]]) -> Counter[Any]:
        return Counter(zip(split.tolist(), rows, strict=True))

    assert dealt(split, rows) == dealt(shuffled, [rows[i] for i in order])


@ANY
@given(rows=LABELLED, limit=LIMITS, seed=st.integers(0, 5))
def test_equal_texts_are_never_on_two_sides_and_the_limit_is_exact(
    rows: list[tuple[str, int]], limit: int | None, seed: int
) -> None:
    keys, labels = keys_of([text for text, _ in rows]), np.array([label for _, label in rows])
    split = assign(keys, labels, SHARES, seed, limit)
    sides: dict[int, set[int]] = {}
    for key, side in zip(keys.tolist(), split.tolist(), strict=True):
        if side != UNUSED:
            sides.setdefault(key, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert (split != UNUSED).sum() == min(len(rows), limit or len(rows))


@pytest.mark.parametrize("limit", [4, 40, 400, 999])
def test_a_limit_keeps_the_share_of_every_label(limit: int) -> None:
    keys, labels = distinct(1000)
    kept = assign(keys, labels, SHARES, seed=0, limit=limit) != UNUSED
    assert kept.sum() == limit
    for label in np.unique(labels):
        assert abs(kept[labels == label].sum() - limit * (labels == label).mean()) <= 1


def test_a_limit_is_kept_where_one_text_fills_the_file() -> None:
    keys = keys_of(["spam"] * 1000 + [f"ham {i}" for i in range(100)])
    for seed in range(5):
        split = assign(keys, np.zeros(1100, dtype=np.int64), SHARES, seed, limit=50)
        assert (split != UNUSED).sum() == 50


@pytest.mark.parametrize("limit", [None, 5])
def test_no_rows_are_no_split(limit: int | None) -> None:
    assert len(assign(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64), SHARES, 0, limit)) == 0


@ANY
@given(text=st.text(max_size=30))
def test_a_key_knows_neither_case_nor_white_space(text: str) -> None:
    spaced = "\t " + "  ".join(text.split()) + "\n"
    assert text_key([text]) == text_key([spaced]) == text_key([text.lower()])


def test_a_key_knows_letters_and_the_border_of_fields() -> None:
    keys = {text_key(texts) for texts in (["a", "b"], ["ab"], ["ab", ""], ["", "ab"], ["a b"], ["b", "a"])}
    assert len(keys) == 6


@ANY
@given(texts=st.lists(st.text(st.sampled_from("aB \t\n\x1c\u00a0é")), max_size=3))
def test_a_key_is_the_hash_of_the_lower_cased_text_with_single_spaces(texts: list[str]) -> None:
    plain = "\0".join(" ".join(text.lower().split()) for text in texts)
    assert text_key(texts) == int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")


@ANY
@given(rows=LABELLED, seed=st.integers(0, 5), data=st.data())
def test_nested_places_are_one_order_whatever_the_order_of_the_file(
    rows: list[tuple[str, int]], seed: int, data: Any
) -> None:
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    keys, labels = keys_of([text for text, _ in rows]), np.array([label for _, label in rows])
    places, shuffled = nested_places(keys, labels, seed), nested_places(keys[order], labels[order], seed)
    assert sorted(places) == list(range(len(rows)))
    num_labels = len(set(labels.tolist()))
    assert len(set(labels[places < num_labels].tolist())) == num_labels, "a row of each label comes first"
    assert [rows[i] for i in np.argsort(places)] == [rows[order[i]] for i in np.argsort(shuffled)]


@pytest.mark.parametrize("size", [20, 100, 400])
def test_a_nested_sample_keeps_the_share_of_every_label(size: int) -> None:
    keys, labels = distinct(1000, num_labels=6)
    kept = nested_places(keys, labels, seed=0) < size
    for label in np.unique(labels):
        assert abs(kept[labels == label].sum() - size * (labels == label).mean()) <= 3  # a first row each comes on top


def test_a_nested_sample_of_label_sets_has_every_label() -> None:
    keys, labels = keys_of([f"text {i}" for i in range(60)]), np.arange(60) % 4
    label_sets = [(0,), (0, 1), (0, 1, 2), (0, 3)]
    first = labels[np.argsort(nested_places(keys, labels, 0, label_sets))]
    assert {label for number in first[:3] for label in label_sets[number]} == {0, 1, 2, 3}


@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_folds_are_stratified_and_of_one_size(num_folds: int) -> None:
    keys, labels = distinct(1003, num_labels=6)
    fold_of = folds(keys, labels, num_folds, seed=1)
    assert set(fold_of) == set(range(num_folds))
    assert np.ptp(np.bincount(fold_of)) <= 1
    for label in np.unique(labels):
        assert np.ptp(np.bincount(fold_of[labels == label], minlength=num_folds)) <= 3
    np.testing.assert_array_equal(fold_of, folds(keys, labels, num_folds, seed=1))
    assert (fold_of != folds(keys, labels, num_folds, seed=2)).mean() > 0.4


@ANY
@given(rows=LABELLED, seed=st.integers(0, 5), num_folds=st.integers(2, 5))
def test_equal_texts_are_in_one_fold(rows: list[tuple[str, int]], seed: int, num_folds: int) -> None:
    keys, labels = keys_of([text for text, _ in rows]), np.array([label for _, label in rows])
    if len(set(keys.tolist())) < num_folds:
        with pytest.raises(ValueError, match="num_folds must be between 2 and"):
            folds(keys, labels, num_folds, seed)
        return
    fold_of = folds(keys, labels, num_folds, seed)
    assert len(set(zip(keys.tolist(), fold_of.tolist(), strict=True))) == len(set(keys.tolist()))


def test_a_label_with_two_texts_is_in_two_folds() -> None:
    keys, labels = keys_of([f"text {i}" for i in range(50)]), np.array([0] * 30 + [1] * 18 + [2] * 2)
    for seed in range(10):
        assert len(set(folds(keys, labels, 5, seed)[labels == 2])) == 2


def test_labels_of_one_text_are_spread_over_the_folds() -> None:
    keys, labels = keys_of([f"text {i}" for i in range(20)]), np.arange(20)
    assert np.bincount(folds(keys, labels, 5, seed=0)).tolist() == [4] * 5
