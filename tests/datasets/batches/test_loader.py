"""Batches hold their texts: padding only at the end, masks and labels of the right rows, micro-batches the whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st
from token_cases import TEXTS, Texts, split_of, tokens_of

from datasets.batches.loader import Loader
from datasets.batches.text_batch import TextBatch, collate
from datasets.store.store import SplitData
from datasets.tokenizers.tokens import num_unknown, unknown_share


def assert_holds(batch: TextBatch, data: SplitData) -> None:
    """Each row of the batch is its text, then padding; its label is that of the text."""
    for field, tokens in zip(batch.fields, data.fields, strict=True):
        ids, mask = field["input_ids"], field["attention_mask"]
        assert ids.dtype == torch.int64
        assert mask.dtype == torch.bool
        assert ids.shape == mask.shape == (len(batch.rows), max(len(tokens.text(row)) for row in batch.rows))
        for i, row in enumerate(batch.rows):
            length = len(tokens.text(row))
            assert ids[i].tolist() == [*tokens.text(row).tolist(), *[0] * (ids.shape[1] - length)]
            assert mask[i].tolist() == [j < length for j in range(ids.shape[1])]
    elsewhere = batch.to(torch.device("meta")).fields  # the only other device that is everywhere; it has sizes alone
    assert [len(field["token_index"]) for field in elsewhere] == [int(f["attention_mask"].sum()) for f in batch.fields]
    assert batch.columns["label"].tolist() == (10 * batch.rows).tolist()
    assert batch.num_tokens == sum(int(field["attention_mask"].sum()) for field in batch.fields)


@ANY
@given(texts=TEXTS, data=st.data(), num_fields=st.integers(1, 2))
def test_a_batch_is_its_texts_and_padding_at_the_end(texts: Texts, data: Any, num_fields: int) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=10)))
    split = split_of(texts, num_fields)
    assert_holds(collate(split.fields, split.columns, rows), split)


def test_several_labels_a_text_are_a_float_matrix() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=np.uint8)
    batch = collate([tokens_of([[1], [2], [3]])], {"label": labels}, np.array([2, 0]))
    assert batch.columns["label"].dtype == torch.float32  # what the loss over several labels wants
    assert batch.columns["label"].tolist() == [[0, 1, 0], [1, 0, 1]]


def test_labels_that_are_not_counted_stay_so() -> None:
    batch = collate([tokens_of([[1], [2]])], {"label": np.array([-100, 3])}, np.array([0, 1]))
    assert batch.columns["label"].tolist() == [-100, 3]


def test_a_batch_is_a_copy() -> None:
    """A store is mapped read-only: writing into a batch must not reach it, nor the next batch."""
    split = split_of([[1, 2], [3]])
    first, second = (collate(split.fields, split.columns, np.array([0, 1])) for _ in range(2))
    first.columns["label"].fill_(7)
    first.fields[0]["input_ids"].fill_(7)
    assert_holds(second, split)


LOADERS: list[dict[str, Any]] = [
    {"batch_size": 4},
    {"batch_size": 7, "accumulation_steps": 3},
    {"batch_size": 5, "accumulation_steps": 9},
    {"batch_size": 1, "batch_tokens": 30, "accumulation_steps": 2},
]


@ANY
@given(texts=TEXTS, seed=st.integers(0, 5), epoch=st.integers(0, 3))
@pytest.mark.parametrize("options", LOADERS, ids=str)
def test_micro_batches_cover_the_global_batch_whatever_it_is_cut_into(
    options: dict[str, Any], texts: Texts, seed: int, epoch: int
) -> None:
    data = split_of(texts, 2)
    cut = list(Loader(data, **options, seed=seed).train_batches(epoch))
    whole = list(Loader(data, **(options | {"accumulation_steps": 1}), seed=seed).train_batches(epoch))
    assert len(cut) == len(whole) == Loader(data, **options, seed=seed).num_steps(epoch)
    for parts, (batch,) in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), batch.rows)
        assert len(parts) == min(options.get("accumulation_steps", 1), len(batch.rows))
        assert sum(part.num_tokens for part in parts) == batch.num_tokens
        for part in parts:
            assert_holds(part, data)
    assert sorted(row for (batch,) in whole for row in batch.rows) == list(range(len(texts)))


@pytest.mark.parametrize("options", LOADERS, ids=str)
def test_resuming_at_any_step_gives_the_rest_of_the_epoch(options: dict[str, Any]) -> None:
    data = split_of([[1] * (1 + i * 7 % 11) for i in range(33)])
    epoch = [[part.rows.tolist() for part in parts] for parts in Loader(data, **options, seed=1).train_batches(2)]
    for start in range(len(epoch) + 1):
        rest = Loader(data, **options, seed=1).train_batches(2, start)
        assert [[part.rows.tolist() for part in parts] for parts in rest] == epoch[start:]


def test_evaluation_has_every_text_once() -> None:
    data = split_of([[1] * (1 + i * 7 % 11) for i in range(33)])
    for options in LOADERS:
        batches = list(Loader(data, **options).eval_batches())
        assert sorted(row for batch in batches for row in batch.rows) == list(range(33))
        for batch in batches:
            assert_holds(batch, data)


def test_the_length_of_a_text_is_that_of_all_its_fields() -> None:
    data = SplitData([tokens_of([[1, 2], [3]]), tokens_of([[4], [5, 6, 7]])], {"label": np.zeros(2)}, np.arange(2))
    assert data.lengths().tolist() == [3, 4]
    assert len(Loader(data, batch_size=1)) == 2


@ANY
@given(texts=TEXTS)
def test_a_flat_array_gives_every_text_again(texts: Texts) -> None:
    whole = tokens_of(texts)
    assert [whole.text(i).tolist() for i in range(len(whole))] == texts


@ANY
@given(texts=TEXTS, data=st.data())
def test_a_pair_says_where_its_second_text_is(texts: Texts, data: Any) -> None:
    second_starts = [data.draw(st.integers(0, len(text))) for text in texts]
    pairs = replace(tokens_of(texts), second_starts=np.array(second_starts, dtype=np.int32))
    rows = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=10)))
    (field,) = collate([pairs], {"label": np.zeros(len(texts))}, rows).fields
    types = field["token_type_ids"]
    assert types.dtype == torch.int64
    for row, line in zip(rows, types.tolist(), strict=True):
        num_second = len(texts[row]) - second_starts[row]
        assert line == [0] * second_starts[row] + [1] * num_second + [0] * (len(line) - len(texts[row]))
    assert "token_type_ids" not in collate([tokens_of(texts)], {"label": np.zeros(len(texts))}, rows).fields[0]


@ANY
@given(texts=TEXTS, data=st.data(), window=st.integers(1, 10))
def test_windows_are_rows_that_know_their_text(texts: Texts, data: Any, window: int) -> None:
    tokens = replace(tokens_of(texts), window=window)
    rows = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=10)))
    batch = collate([tokens], {"label": np.arange(len(texts))}, rows)
    (field,) = batch.fields
    ids, mask, text_index = field["input_ids"], field["attention_mask"], field["text_index"]
    expected = [
        (i, texts[row][k : k + window]) for i, row in enumerate(rows) for k in range(0, len(texts[row]), window)
    ]
    assert [
        (i, row[is_real].tolist()) for i, row, is_real in zip(text_index.tolist(), ids, mask, strict=True)
    ] == expected
    assert ids.shape == mask.shape == (len(expected), max(len(piece) for _, piece in expected))
    assert field["num_windows"].tolist() == torch.bincount(text_index).tolist()
    assert batch.columns["label"].tolist() == rows.tolist()
    assert batch.num_tokens == sum(len(texts[row]) for row in rows)


@ANY
@given(texts=TEXTS, window=st.integers(1, 10), batch_tokens=st.integers(1, 60))
def test_a_token_budget_holds_with_windows(texts: Texts, window: int, batch_tokens: int) -> None:
    tokens = replace(tokens_of(texts), window=window)
    data = SplitData([tokens], {"label": np.zeros(len(texts))}, np.arange(len(texts)))
    for batch in Loader(data, batch_size=1, batch_tokens=batch_tokens).eval_batches():
        assert batch.fields[0]["input_ids"].numel() <= batch_tokens or len(batch.rows) == 1
    for row, cost in enumerate(data.lengths()):
        assert (
            cost == collate([tokens], {"label": np.zeros(len(texts))}, np.array([row])).fields[0]["input_ids"].numel()
        )


def test_special_tokens_are_none_of_the_vocabulary() -> None:
    """A text of nothing but unknown words is one, whatever stands around it."""
    fields = [tokens_of([[2, 1, 3], [2, 9, 3], [2, 3]]), tokens_of([[2, 1, 1, 3], [2, 1, 3], [2, 1, 3]])]
    assert num_unknown(fields, [1, 2, 3]) == 2
    assert num_unknown(fields, [1]) == 0
    ids = np.concatenate([tokens.ids for tokens in fields]).tolist()
    assert unknown_share(fields, 1, []) == ids.count(1) / len(ids)
    assert unknown_share(fields, 1, [2, 3]) == ids.count(1) / (len(ids) - ids.count(2) - ids.count(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.cuda
def test_a_batch_moves_to_the_device_unchanged() -> None:
    split = split_of([[1, 2], [3]], 2)
    batch = collate(split.fields, split.columns, np.array([1, 0])).to(torch.device("cuda"))
    assert batch.columns["label"].is_cuda
    assert all(tensor.is_cuda for field in batch.fields for tensor in field.values())
    fields = [{name: tensor.cpu() for name, tensor in field.items()} for field in batch.fields]
    assert_holds(TextBatch(fields, {"label": batch.columns["label"].cpu()}, batch.rows, batch.num_tokens), split)
