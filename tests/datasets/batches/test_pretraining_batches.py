"""Batches of pre-training: what stands in them, and the faults that public pre-training code has, each of which would show here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from datasets.batches.examples import EVALUATION
from datasets.batches.loader import Loader
from datasets.batches.masking import Masking, MaskShare
from datasets.batches.pretraining import PretrainingBatch, PretrainingExamples, Sequences, batch_of
from datasets.store.document_store import DocumentTokens

PAD, UNK, CLS, SEP, MASK = range(5)
VOCAB = 60


def documents(count: int = 30, seed: int = 0) -> DocumentTokens:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 8, count)
    lengths = generator.integers(2, 15, sizes.sum())
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(5, VOCAB, bounds[-1]).astype(np.int32)
    return DocumentTokens(ids, bounds, np.concatenate([[0], np.cumsum(sizes)]))


def examples(pairs: str = "none", unit: str = "token", share: float = 0.15, **options: Any) -> PretrainingExamples:
    starts = np.arange(VOCAB) % 3 != 0
    common = (MASK, np.arange(5, VOCAB), starts)
    sequences = Sequences(pairs, 32, 16, 0, 0.1, options.pop("dupe_factor", None))  # type: ignore[arg-type]
    masking = Masking(*common, unit, 0.8, 0.1)  # type: ignore[arg-type]
    evaluation = Masking(*common, "token", 0.8, 0.1)
    given = {"share": MaskShare(share, share), "special": (CLS, SEP, PAD), "seed": 1} | options
    return PretrainingExamples(documents(), sequences, masking, evaluation, **given)


def restored(batch: PretrainingBatch) -> np.ndarray:
    """(B, T) ids with what was masked put back."""
    ids = batch.input_ids.clone().flatten()
    ids[batch.places] = batch.ids
    return ids.view(batch.input_ids.shape).numpy()


KINDS = ["none", "next_sentence", "sentence_order"]


@pytest.mark.parametrize("pairs", KINDS)
def test_a_sequence_has_its_special_tokens_where_bert_has_them(pairs: str) -> None:
    split = examples(pairs)
    batch = split.collate(np.arange(len(split.lengths(0))), 0)
    ids, mask, types = restored(batch), batch.attention_mask.numpy(), batch.token_type_ids.numpy()
    assert (ids[:, 0] == CLS).all()
    assert (ids[~mask] == PAD).all()
    assert batch.num_tokens == mask.sum()
    assert mask.sum(axis=1).tolist() == split.lengths(0)[: len(ids)].tolist()
    if pairs == "none":
        assert batch.pair_labels is None
        assert not types.any()
        return
    for row, real, segments in zip(ids, mask, types, strict=True):
        first, last = np.flatnonzero(row == SEP)
        assert last == real.sum() - 1
        assert segments.tolist() == [int(first < i <= last) for i in range(len(row))]


@pytest.mark.parametrize("pairs", KINDS)
@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_no_special_token_or_padding_is_masked_and_each_sequence_has_a_masked_token(pairs: str, unit: str) -> None:
    split = examples(pairs, unit)
    for epoch in (0, EVALUATION):
        batch = split.collate(np.arange(len(split.lengths(epoch))), epoch)
        assert batch.ids.min() >= 5
        rows = batch.places // batch.input_ids.shape[1]
        assert set(rows.tolist()) == set(range(len(batch.rows)))


@pytest.mark.parametrize("pairs", KINDS)
def test_the_tokens_are_those_of_the_documents(pairs: str) -> None:
    split = examples(pairs)
    text = split.tokens.ids.tolist()
    batch = split.collate(np.arange(len(split.lengths(3))), 3)
    for row in restored(batch).tolist():
        inner = [id for id in row[1:] if id != PAD]
        parts, part = [], list[int]()
        for id in inner:
            if id == SEP:
                parts.append(part)
                part = []
            else:
                part.append(id)
        for found in filter(None, [*parts, part]):
            assert any(text[i : i + len(found)] == found for i in range(len(text) - len(found) + 1))


def test_packed_places_are_the_places_without_padding() -> None:
    batch = examples("next_sentence").collate(np.arange(12), 0)
    flat = batch.input_ids.flatten()
    assert torch.equal(flat[batch.token_index][batch.packed_places], flat[batch.places])
    assert torch.equal(batch.token_index, batch.attention_mask.flatten().nonzero()[:, 0])


@pytest.mark.parametrize("pairs", KINDS)
def test_a_row_is_the_same_in_any_batch_and_on_any_number_of_processes(pairs: str) -> None:
    split = examples(pairs)
    whole = split.collate(np.arange(10), 2, 5)
    for row in (0, 4, 9):
        alone = split.collate(np.array([row]), 2, 5)
        length = int(alone.attention_mask.sum())
        assert alone.input_ids[0, :length].tolist() == whole.input_ids[row, :length].tolist()
    seen: dict[int, list[int]] = {}
    for num_ranks in (1, 2, 3):
        for rank in range(num_ranks):
            loader = Loader(split, batch_size=7, seed=1, rank=rank, num_ranks=num_ranks)
            for batches in loader.train_batches(2):
                for batch in batches:
                    for row, ids in zip(batch.rows.tolist(), batch.input_ids.tolist(), strict=True):  # type: ignore[attr-defined]
                        kept = [id for id in ids if id != PAD]
                        assert seen.setdefault(row, kept) == kept


def test_dynamic_masks_differ_between_epochs_and_static_ones_come_again() -> None:
    rows = np.arange(5)
    dynamic, static = examples("sentence_order"), examples("sentence_order", dupe_factor=2)
    assert dynamic.collate(rows, 0).input_ids.tolist() != dynamic.collate(rows, 2).input_ids.tolist()
    bounds = np.arange(0, 601, 6)
    one = replace(
        examples(), tokens=DocumentTokens(np.arange(600, dtype=np.int32) % 50 + 5, bounds, np.array([0, 100]))
    )
    first, second, third = (one.collate(rows, epoch) for epoch in range(3))
    assert restored(first).tolist() == restored(second).tolist() == restored(third).tolist(), "a document has one order"
    assert len({str(batch.places.tolist()) for batch in (first, second, third)}) == 3, "and its masks are drawn again"
    assert static.collate(rows, 0).input_ids.tolist() == static.collate(rows, 2).input_ids.tolist()
    assert static.collate(rows, 0).input_ids.tolist() != static.collate(rows, 1).input_ids.tolist()


def test_every_evaluation_and_every_recipe_masks_the_same_tokens() -> None:
    rows = np.arange(6)
    recipes = [
        examples(),
        examples(unit="span", share=0.4),
        replace(examples(), share=MaskShare(0.3, 0.1), total_steps=100),
        examples(dupe_factor=3),
        examples(even_turns=5),
    ]
    found = [(b.input_ids.tolist(), b.places.tolist()) for e in recipes for b in [e.collate(rows, EVALUATION, 50)]]
    assert all(each == found[0] for each in found)


def test_the_share_falls_with_the_step_and_the_order_of_steps_is_the_loaders() -> None:
    split = replace(examples(), share=MaskShare(0.5, 0.1), total_steps=9)
    shares = []
    for epoch, step in ((0, 0), (1, 5)):
        for batches in Loader(split, batch_size=5, seed=1).train_batches(epoch, 0, step):
            places = sum(len(batch.places) for batch in batches)  # type: ignore[attr-defined]
            shares.append(places / sum(int((restored(b) > MASK).sum()) for b in batches))  # type: ignore[arg-type]
    expected = [0.5 - 0.05 * step for step in [*range(len(shares) // 2), *range(5, 5 + len(shares) - len(shares) // 2)]]
    np.testing.assert_allclose(shares, [max(0.1, share) for share in expected], atol=0.03)


def test_even_masks_mask_each_token_once_in_their_epochs() -> None:
    split = examples(even_turns=5)
    times = np.zeros(len(split.tokens.ids), int)
    for epoch in range(5):
        layout: Any = split.layout(epoch)
        where, _ = layout.places(np.arange(len(layout)))
        batch = split.collate(np.arange(len(layout)), epoch)
        row, place = np.divmod(batch.places.numpy(), batch.input_ids.shape[1])
        np.add.at(times, where[row, place - 1], 1)
    assert times.min() == 1
    assert (times > 1).mean() < 0.05


def test_a_sequence_of_one_token_masked_at_a_place() -> None:
    batch = batch_of([[CLS, 7, 8, SEP], [CLS, 9, SEP]], [2, 1], MASK)
    assert batch.input_ids.tolist() == [[CLS, 7, MASK, SEP], [CLS, MASK, SEP, PAD]]
    assert batch.ids.tolist() == [8, 9]
    assert batch.packed_places.tolist() == [2, 5]


def test_short_sequences_come_first_and_the_epoch_ends_where_they_do() -> None:
    sizes = Sequences("none", 32, 16, 2, 0.1, None)
    split = replace(examples(), sequences=sizes)
    loader = Loader(split, batch_size=8, seed=1, shortened={1: 2})
    lengths = [batches[0].input_ids.shape[1] for epoch in range(3) for batches in loader.train_batches(epoch)]  # type: ignore[attr-defined]
    assert loader.num_steps(1) == 2
    assert lengths == [16] * (loader.num_steps(0) + 2) + [32] * loader.num_steps(2)
    assert loader.num_steps(0) > loader.num_steps(2)
