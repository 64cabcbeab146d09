"""What holds for any text, any labels and any batches: written and read, encoded and stored, cut off and resumed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_jsonl
from corpora import corpus_of, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from token_cases import split_of

from datasets.batches.loader import Loader
from datasets.formats.readers import FORMATS
from datasets.formats.rows import Layout
from datasets.rows.split import SPLITS
from datasets.tokenizers import processes as parallel
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer
from datasets.tokenizers.word import WordTokenizer

ANY = settings()
FEWER = settings(max_examples=ANY.max_examples // 5)  # those that write a store
NO_CONTROL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\t\ufeff"), max_size=20)


def lines_of(path: Path, texts: list[str]) -> list[dict[str, str]]:
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())
    return [{"text": text} for text in texts if text.strip()]


def cells_of(path: Path, texts: list[str]) -> list[dict[str, str]]:
    path.write_bytes(b"text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts).encode())
    return [{"text": text, "label": "x"} for text in texts]


def files_of(path: Path, texts: list[str]) -> list[dict[str, str]]:
    (path / "x").mkdir(parents=True, exist_ok=True)
    for file in (path / "x").iterdir():
        file.unlink()
    for i, text in enumerate(texts):
        (path / "x" / f"{i:03}.txt").write_bytes(text.encode())
    return [{"text": text, "label": "x", "id": f"x/{i:03}.txt"} for i, text in enumerate(texts)]


@ANY
@given(texts=st.lists(NO_CONTROL, max_size=8))
@pytest.mark.parametrize(("kind", "write"), [("text", lines_of), ("tsv", cells_of), ("folder", files_of)])
def test_any_text_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, kind: str, write: Callable[..., Any], texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any_{kind}"
    expected = write(path, texts)
    assert [row.values for row in FORMATS[kind](path, Layout()) if row.problem is None] == expected


TEXT = st.text(max_size=12)


@FEWER
@given(
    texts=st.lists(TEXT, min_size=24, max_size=40),
    labels=st.lists(st.sampled_from(["x", "y", "1", "10", "à", "ж", "\U0001f600", "a b"]), min_size=2, max_size=5, unique=True),
    max_length=st.none() | st.integers(1, 3),
    fields=st.sampled_from([["text"], ["title", "text"]]),
)  # fmt: skip
def test_a_store_holds_the_ids_and_labels_of_its_records(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], labels: list[str], max_length: int | None, fields: Any
) -> None:
    folder = tmp_path_factory.mktemp("store")
    rows = [{"title": f"t{i}", "text": f"{text}{i}", "label": labels[i % len(labels)]} for i, text in enumerate(texts)]
    path = write_jsonl(folder / "rows.jsonl", rows)
    corpus = corpus_of(path, fields=fields, max_length=max_length, split=[0.5, 0.25, 0.25])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "CHUNK", 7)  # texts that are written at a time
        store = opened(corpus, WordTokenizer(lower=False))
    assert store.labels == sorted(labels)  # a bijection: id i is the i-th label, each once
    for split in SPLITS:
        data = store.splits[split]
        records = list(corpus.records(split, data.rows))
        assert [store.labels[label] for label in data.columns["label"]] == [record.labels[0] for record in records]
        for i, tokens in enumerate(data.fields):
            again = store.tokenizer.encode([record.texts[i] for record in records], max_length)
            np.testing.assert_array_equal(tokens.ids, again.ids)
            np.testing.assert_array_equal(tokens.offsets, again.offsets)
            np.testing.assert_array_equal(tokens.truncated, again.truncated)


@ANY
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    options=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 12),
            "batch_tokens": st.none() | st.integers(1, 60),
            "accumulation_steps": st.integers(1, 4),
        }
    ),
    epoch=st.integers(0, 5),
    data=st.data(),
)
def test_the_beginning_and_the_resumed_rest_are_the_whole_epoch(
    lengths: list[int], options: dict[str, Any], epoch: int, data: Any
) -> None:
    split = split_of([[1] * length for length in lengths])

    def rows(start: int) -> list[list[list[int]]]:
        batches = Loader(split, **options, seed=3).train_batches(epoch, start)
        return [[part.rows.tolist() for part in parts] for parts in batches]

    whole = rows(0)
    k = data.draw(st.integers(0, len(whole)))
    assert whole[:k] + rows(k) == whole
    assert sorted(row for parts in whole for part in parts for row in part) == list(range(len(lengths)))


def trained(kind: type) -> Any:
    tokenizer = kind()
    if isinstance(tokenizer, WordTokenizer):
        tokenizer.set_vocabulary(Counter(["a", "b", "c", "é"]))
    else:
        tokenizer.train([["a b c", "é"]])
    return tokenizer


TOKENIZERS = {kind.__name__: trained(kind) for kind in (WordTokenizer, WordPieceTokenizer, ByteBPETokenizer)}


@ANY
@given(texts=st.lists(st.text(st.characters(), max_size=20), max_size=4), max_length=st.none() | st.integers(1, 4))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_text_at_all_is_too_strange_for_a_tokenizer(name: str, texts: list[str], max_length: int | None) -> None:
    tokenizer = TOKENIZERS[name]
    tokens = tokenizer.encode(texts, max_length)
    assert len(tokens) == len(texts)
    assert ((tokens.ids >= 1) & (tokens.ids < tokenizer.vocab_size)).all()
    assert (tokens.lengths >= 1).all()
