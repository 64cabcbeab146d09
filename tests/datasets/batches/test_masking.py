"""Masks against a slow, obvious version, and the faults that public pre-training code has."""

import math
from collections import Counter

import numpy as np
import pytest

from datasets.batches.masking import SPAN, Masking, MaskShare, noise_of
from datasets.hashing import mix

VOCAB, MASK_ID, SPECIAL = 100, 4, 5  # ids 0 to 4 are special
STARTS = np.arange(VOCAB) % 3 != 0  # a third of the tokens go on with a word
PLAIN = np.arange(SPECIAL, VOCAB)


def rule(unit: str = "token", mask: float = 0.8, random: float = 0.1) -> Masking:
    return Masking(MASK_ID, PLAIN, STARTS, unit, mask, random)  # type: ignore[arg-type]


def sequences(size: int = 50, length: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids with a special token at both ends and padding behind; and which may be masked."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(SPECIAL, VOCAB, (size, length))
    ends = generator.integers(4, length + 1, size)
    places = np.arange(length)
    maskable = (places > 0) & (places < ends[:, None] - 1)
    return np.where(maskable, ids, 2), maskable


def units_slowly(ids: list[int], maskable: list[bool], unit: str, lengths: list[int]) -> list[list[int]]:
    """The places of each unit of one sequence; lengths: of a span, should one begin at a place."""
    found: list[list[int]] = []
    room = 0
    for place, id in enumerate(ids):
        room -= 1
        if unit == "span" and room <= 0:  # spans run through the sequence, whatever may be masked of it
            is_start, room = True, lengths[place]
        else:
            is_start = unit == "token" or (unit == "word" and bool(STARTS[id]))
        if not maskable[place]:
            found.append([])
        elif is_start or not found or not found[-1]:
            found.append([place])
        else:
            found[-1].append(place)
    return [places for places in found if places]


def chosen_slowly(ids: np.ndarray, maskable: np.ndarray, noise: np.ndarray, unit: str, share: float) -> set[int]:
    """Units in the order of their first token's random number, as long as they fit; by chance one that does not."""
    lengths = [1 + int(n) % SPAN for n in mix(noise ^ mix(np.array([5], np.uint64)))]
    units = units_slowly(ids.tolist(), maskable.tolist(), unit, lengths)
    keys, chance = (mix(noise ^ mix(np.array([number], np.uint64))) for number in (1, 6))
    units.sort(key=lambda places: int(keys[places[0]]))
    budget, taken, used = max(1, round(share * int(maskable.sum()))), set[int](), 0
    for number, places in enumerate(units):
        left, used = budget - used, used + len(places)
        if left >= len(places) or number == 0 or int(chance[places[0]]) / 2**64 < left / len(places):
            taken |= set(places)
    return taken


@pytest.mark.parametrize("unit", ["token", "word", "span"])
@pytest.mark.parametrize("share", [0.01, 0.15, 0.5])
def test_the_masked_tokens_are_those_of_the_slow_version(unit: str, share: float) -> None:
    ids, maskable = sequences()
    noise = noise_of(3, 7, np.arange(len(ids)), ids.shape[1])
    masked = rule(unit).apply(ids, maskable, noise, share)
    for i in range(len(ids)):
        expected = chosen_slowly(ids[i], maskable[i], noise[i], unit, share)
        assert set(np.flatnonzero(masked.is_masked[i]).tolist()) == expected, i


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_never_a_special_token_or_padding_and_at_least_one_a_sequence(unit: str) -> None:
    ids, maskable = sequences(500)
    masked = rule(unit).apply(ids, maskable, noise_of(0, 0, np.arange(500), 40), 0.15)
    assert not (masked.is_masked & ~maskable).any()
    assert masked.is_masked.any(axis=1).all()
    assert (masked.input_ids == ids)[~masked.is_masked].all()


def test_tokens_are_masked_in_exactly_their_share() -> None:
    ids, maskable = sequences(200)
    masked = rule().apply(ids, maskable, noise_of(0, 0, np.arange(200), 40), 0.15)
    expected = np.maximum(1, np.rint(0.15 * maskable.sum(axis=1)))
    assert (masked.is_masked.sum(axis=1) == expected).all()


@pytest.mark.parametrize("unit", ["word", "span"])
@pytest.mark.parametrize("length", [40, 60])  # shorter ones are masked more often, as each has a unit that is masked
def test_units_are_masked_in_their_share_on_average_long_ones_like_short_ones(unit: str, length: int) -> None:
    size = 4000
    ids = np.random.default_rng(0).integers(SPECIAL, VOCAB, (size, length))
    everywhere, noise = np.ones_like(ids, dtype=bool), noise_of(0, 0, np.arange(size), length)
    masked = rule(unit).apply(ids, everywhere, noise, 0.15).is_masked
    assert abs(masked.mean() - round(0.15 * length) / length) < 0.003
    first = rule(unit).first_of_unit(ids, everywhere, noise)
    sizes = np.stack([np.bincount(row, minlength=length) for row in first])
    own = np.take_along_axis(sizes, first, axis=1)
    shares = [masked[own == tokens].mean() for tokens in (1, 2, 3)]
    assert max(shares) < 1.2 * min(shares)


def test_eighty_ten_ten() -> None:
    ids = np.full((400, 128), 50)
    everywhere = np.ones_like(ids, dtype=bool)
    masked = rule().apply(ids, everywhere, noise_of(0, 0, np.arange(400), 128), 0.5)
    found = masked.input_ids[masked.is_masked]
    count = len(found)
    others = found[(found != MASK_ID) & (found != 50)]
    for share, number in [
        (0.8, (found == MASK_ID).sum()),
        (0.1 * 94 / 95, len(others)),
        (0.1 + 0.1 / 95, (found == 50).sum()),
    ]:
        assert abs(number - share * count) < 4 * math.sqrt(count * share * (1 - share))
    assert others.min() >= SPECIAL
    frequencies = np.array([Counter(others.tolist())[id] for id in PLAIN if id != 50])
    expected = len(others) / 94
    assert ((frequencies - expected) ** 2 / expected).sum() < 93 + 5 * math.sqrt(2 * 93)  # chi squared


def test_spans_are_one_to_three_tokens_with_equal_probability() -> None:
    ids = np.full((300, 128), 50)
    first = rule("span").first_of_unit(ids, np.ones_like(ids, dtype=bool), noise_of(0, 0, np.arange(300), 128))
    lengths = np.concatenate([np.unique(row[:120], return_counts=True)[1][:-1] for row in first])
    for length in (1, 2, 3):
        assert abs((lengths == length).mean() - 1 / 3) < 0.02
    assert set(lengths.tolist()) == {1, 2, 3}


def test_each_epoch_masks_others_and_each_start_the_same() -> None:
    ids, maskable = sequences()
    rows = np.arange(len(ids))
    masks = [rule().apply(ids, maskable, noise_of(1, epoch, rows, 40), 0.15).is_masked for epoch in (0, 1, 0)]
    assert (masks[0] != masks[1]).any(axis=1).mean() > 0.9
    assert (masks[0] == masks[2]).all()


def test_a_row_is_masked_alike_in_any_batch() -> None:
    ids, maskable = sequences()
    whole = rule("word").apply(ids, maskable, noise_of(1, 2, np.arange(50), 40), 0.15)
    for rows in (np.array([7]), np.array([40, 7, 3])):
        part = rule("word").apply(ids[rows], maskable[rows], noise_of(1, 2, rows, 40), 0.15)
        assert (part.input_ids == whole.input_ids[rows]).all()


@pytest.mark.parametrize("unit", ["token", "word"])
def test_even_masks_mask_each_token_once_in_their_turns(unit: str) -> None:
    ids, maskable = sequences(200)
    noise = noise_of(1, 0, np.arange(200), 40)
    times = sum(rule(unit).apply_evenly(ids, maskable, noise, turn, 7).is_masked.astype(int) for turn in range(7))
    assert times[maskable].min() == 1
    assert (times[maskable] > 1).mean() < 0.06  # only where a sequence would have had none
    assert (times[~maskable] == 0).all()


def test_the_share_falls_in_a_straight_line() -> None:
    share = MaskShare(0.30, 0.15)
    assert share.at(0, 101) == 0.30
    assert share.at(50, 101) == pytest.approx(0.225)
    assert share.at(100, 101) == pytest.approx(0.15)
    assert share.at(500, 101) == pytest.approx(0.15)
    assert MaskShare(0.2, 0.2).at(3, 10) == 0.2
