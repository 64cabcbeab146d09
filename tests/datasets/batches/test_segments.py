"""Sequences packed full, and pairs of segments, against slow versions of create_pretraining_data.py's rules."""

import numpy as np
import pytest

from datasets.batches.segments import PairSequences, _truncated, pack, pair_up


def documents(seed: int = 0, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """(where sentences begin in the ids, where documents begin in the sentences)."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 12, count)
    lengths = generator.integers(1, 25, sizes.sum())
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([[0], np.cumsum(sizes)])


def paired(
    pairs: str = "next_sentence", size: int = 40, short: float = 0.1, epoch: int = 0, count: int = 60
) -> PairSequences:
    return pair_up(*documents(count=count), pairs, size, short, 3, epoch)  # type: ignore[arg-type]


def test_packed_sequences_hold_every_token_once_and_a_border_behind_each_document() -> None:
    sentences, starts = documents()
    bounds = sentences[starts]
    packed = pack(bounds, 31, seed=1, epoch=4)
    places, is_there = packed.places(np.arange(len(packed)))
    stream = places[is_there]
    assert is_there.sum(axis=1).tolist() == packed.lengths.tolist()
    assert set(packed.lengths[:-1].tolist()) == {31}
    slowly: list[int] = []
    for document in packed.order:
        slowly += [*range(bounds[document], bounds[document + 1]), -1]
    assert stream.tolist() == slowly
    assert sorted(packed.order.tolist()) == list(range(60))
    assert pack(bounds, 31, 1, 5).order.tolist() != packed.order.tolist()


def owner(places: np.ndarray) -> np.ndarray:
    sentences, starts = documents()
    return np.searchsorted(sentences[starts], places, side="right") - 1


@pytest.mark.parametrize("pairs", ["next_sentence", "sentence_order"])
@pytest.mark.parametrize("size", [8, 40, 200])
def test_pairs_fit_and_are_not_empty(pairs: str, size: int) -> None:
    found = paired(pairs, size)
    assert found.lengths.max() <= size
    assert (found.a[:, 1] > found.a[:, 0]).all()
    assert (found.b[:, 1] > found.b[:, 0]).all()
    for segment in (found.a, found.b):
        assert (owner(segment[:, 0]) == owner(segment[:, 1] - 1)).all(), "a segment is of one document"


def test_next_sentences_are_true_in_half_and_the_others_come_from_another_document() -> None:
    found = [paired(epoch=epoch) for epoch in range(40)]
    labels = np.concatenate([each.label for each in found])
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(labels))
    for each in found:
        same = owner(each.a[:, 0]) == owner(each.b[:, 0])
        assert same.tolist() == (each.label == 0).tolist()
        true = each.label == 0
        assert (each.b[true, 0] >= each.a[true, 1]).all(), "the second follows the first"


def test_true_pairs_are_cut_at_a_sentence() -> None:
    sentences, _ = documents()
    found = paired(size=10**6)  # nothing is too long, so that nothing is cut off
    true = found.label == 0
    assert (found.a[true, 1] == found.b[true, 0]).all()
    assert np.isin(found.b, sentences).all()
    assert np.isin(found.a, sentences).all()


def test_sentence_order_swaps_half_of_them() -> None:
    found = [paired("sentence_order", epoch=epoch) for epoch in range(40)]
    labels = np.concatenate([each.label for each in found])
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(labels))
    for each in found:
        assert ((each.a[:, 0] > each.b[:, 0]) == (each.label == 1)).all()
        assert (owner(each.a[:, 0]) == owner(each.b[:, 0])).all()


def test_short_pairs_come_as_often_as_asked() -> None:
    sizes = {
        short: np.concatenate([paired(size=60, short=short, epoch=e).lengths for e in range(20)])
        for short in (0.0, 0.9)
    }
    assert (sizes[0.0] < 30).mean() < 0.5 * (sizes[0.9] < 30).mean()


def truncated_slowly(a: int, b: int, size: int) -> tuple[int, int]:
    while a + b > size:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


def test_the_longer_segment_is_shortened_first() -> None:
    whole = paired("sentence_order", size=10**6, short=0.0)
    noise = np.arange(len(whole), dtype=np.uint64)
    for size in (5, 20, 33):
        a, b = _truncated(whole.a, whole.b, size, noise)
        for i in range(len(whole)):
            expected = truncated_slowly(*(int(s[i, 1] - s[i, 0]) for s in (whole.a, whole.b)), size)
            assert (a[i, 1] - a[i, 0], b[i, 1] - b[i, 0]) == expected
        assert (a[:, 0] >= whole.a[:, 0]).all()
        assert (a[:, 1] <= whole.a[:, 1]).all()


def test_each_epoch_has_other_pairs_and_each_start_the_same() -> None:
    first, again, other = paired(epoch=0), paired(epoch=0), paired(epoch=1)
    assert first.a.tolist() == again.a.tolist()
    assert first.b.tolist() == again.b.tolist()
    assert first.a.tolist() != other.a.tolist()
