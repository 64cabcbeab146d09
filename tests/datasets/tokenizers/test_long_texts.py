"""Long texts: what is kept of them, what is marked, and windows that hold everything."""

from typing import Any

import numpy as np
import pytest
import tokenizers
from conftest import tiny_rows
from corpora import ANY, corpus_over, opened, tiny_corpus
from hypothesis import given
from hypothesis import strategies as st
from token_cases import TEXTS, Texts, as_lists, assert_same, tokens_of

from datasets.batches.loader import Loader
from datasets.tokenizers.long_texts import check_fits, fit, fit_pairs, longest_first
from datasets.tokenizers.pretrained import PretrainedTokenizer
from datasets.tokenizers.subword import ByteBPETokenizer, SubwordTokenizer, WordPieceTokenizer
from datasets.tokenizers.word import WordTokenizer

SPECIAL = st.sampled_from([((), ()), ((101,), (102,)), ((101,), ()), ((101, 103), (102, 102))])
TOKENIZERS: dict[str, Any] = {
    "word": WordTokenizer,
    "wordpiece": lambda: WordPieceTokenizer(vocab_size=400),
    "wordpiece with special tokens": lambda: WordPieceTokenizer(vocab_size=400, special_tokens=True),
    "byte_bpe with special tokens": lambda: ByteBPETokenizer(vocab_size=400, special_tokens=True),
}


def trained(special_tokens: bool = True) -> SubwordTokenizer:
    tokenizer = WordPieceTokenizer(vocab_size=400, special_tokens=special_tokens)
    tokenizer.train([[row["text"] for row in tiny_rows()]])
    return tokenizer


@ANY
@given(texts=TEXTS, room=st.integers(1, 9), special=SPECIAL)
def test_the_head_is_the_first_tokens(texts: Texts, room: int, special: Any) -> None:
    before, after = special
    kept = fit(tokens_of(texts), room + len(before) + len(after), special=special)
    assert as_lists(kept) == [[*before, *text[:room], *after] for text in texts]
    assert kept.truncated.tolist() == [len(text) > room for text in texts]


@ANY
@given(texts=TEXTS, room=st.integers(1, 9), special=SPECIAL)
def test_head_and_tail_keep_both_ends(texts: Texts, room: int, special: Any) -> None:
    before, after = special
    kept = fit(tokens_of(texts), room + len(before) + len(after), "head_tail", special=special)
    head = (room + 3) // 4
    cut = [text if len(text) <= room else text[:head] + text[len(text) - (room - head) :] for text in texts]
    assert as_lists(kept) == [[*before, *text, *after] for text in cut]
    assert kept.truncated.tolist() == [len(text) > room for text in texts]


def test_head_and_tail_are_those_of_the_paper() -> None:
    (kept,) = as_lists(fit(tokens_of([list(range(1, 1001))]), 512, "head_tail", special=((101,), (102,))))
    assert kept[1:129] == list(range(1, 129))
    assert kept[129:-1] == list(range(1001 - 382, 1001))
    assert len(kept) == 512


@ANY
@given(texts=TEXTS, room=st.integers(1, 9), stride=st.integers(0, 8), special=SPECIAL)
def test_windows_hold_every_token_and_share_the_stride(texts: Texts, room: int, stride: int, special: Any) -> None:
    stride, (before, after) = min(stride, room - 1), special
    size = room + len(before) + len(after)
    tokens = fit(tokens_of(texts), size, "windows", stride, special)
    assert tokens.window == size
    assert not tokens.truncated.any()
    for text, found in zip(texts, as_lists(tokens), strict=True):
        windows = [found[start : start + size] for start in range(0, len(found), size)]
        assert all(len(window) == size for window in windows[:-1])
        assert all(tuple(window[: len(before)]) == before for window in windows)
        assert all(tuple(window[len(window) - len(after) :]) == after for window in windows)
        bare = [window[len(before) : len(window) - len(after)] for window in windows]
        assert bare[0] + [id for window in bare[1:] for id in window[stride:]] == text
        assert all(len(window) > stride for window in bare[1:])  # none that holds nothing new


@pytest.mark.parametrize(("max_length", "stride"), [(3, 0), (8, 0), (8, 3), (8, 5), (20, 1)])
def test_windows_are_the_librarys(max_length: int, stride: int) -> None:
    ours = trained()
    texts = [row["title"] * i for i, row in enumerate(tiny_rows(10))]
    tokens = ours.encode(texts, max_length, long_texts="windows", stride=stride)
    library = tokenizers.Tokenizer.from_str(ours.tokenizer.to_str())
    library.enable_truncation(max_length, stride=stride)
    encodings = library.encode_batch(texts)
    expected = [[id for part in [e, *e.overflowing] for id in part.ids] for e in encodings]
    assert as_lists(tokens) == expected


@ANY
@given(first=st.integers(0, 12), second=st.integers(0, 12), room=st.integers(2, 20))
def test_the_longer_text_of_a_pair_is_cut_first(first: int, second: int, room: int) -> None:
    """As token after token from the longer one, which keeps the odd one; the second where both are alike, as the library has it."""
    kept = tuple(n.item() for n in longest_first(np.array([first]), np.array([second]), room))
    a, b = first, second
    while a + b > room:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    if first <= second and b < a:
        a, b = b, a
    assert kept == (a, b)


@ANY
@given(texts=TEXTS, others=TEXTS, max_length=st.none() | st.integers(5, 12))
def test_a_pair_is_both_texts_between_special_tokens(texts: Texts, others: Texts, max_length: int | None) -> None:
    num_pairs = min(len(texts), len(others))
    first, second = texts[:num_pairs], others[:num_pairs]
    pairs = fit_pairs(tokens_of(first), tokens_of(second), max_length, ((101,), (102,), (102,)))
    assert pairs.second_starts is not None
    for a, b, pair, start, truncated in zip(
        first, second, as_lists(pairs), pairs.second_starts.tolist(), pairs.truncated, strict=True
    ):
        kept_a, kept_b = pair[1 : start - 1], pair[start:-1]
        assert pair == [101, *a[: len(kept_a)], 102, *b[: len(kept_b)], 102]
        assert (len(kept_a), len(kept_b)) == (len(a), len(b)) or len(pair) == max_length
        assert truncated == (len(kept_a) + len(kept_b) < len(a) + len(b))


def test_special_tokens_change_nothing_else() -> None:
    texts = [row["text"] for row in tiny_rows()]
    plain, special = trained(False), trained()
    assert plain.tokenizer.get_vocab() == special.tokenizer.get_vocab()
    assert as_lists(special.encode(texts)) == [[2, *ids, 3] for ids in as_lists(plain.encode(texts))]
    assert as_lists(special.encode([""])) == [[2, 3]]
    assert special.encode(texts, 5).lengths.max() == 5
    assert_same(special.encode(texts, 9), SubwordTokenizer.from_json(special.to_json()).encode(texts, 9))


OPTIONS: list[dict[str, Any]] = [{}, {"long_texts": "head_tail"}, {"long_texts": "windows", "stride": 2}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_store_holds_what_the_tokenizer_gives(tmp_path: Any, kind: str, options: dict[str, Any]) -> None:
    """So training and prediction see the same."""
    corpus = tiny_corpus(tmp_path, max_length=7, **options)
    store = opened(corpus, TOKENIZERS[kind](), max_length=7, **options)
    for split, data in store.splits.items():
        records = list(corpus.records(split, data.rows))
        for i, tokens in enumerate(data.fields):
            assert_same(tokens, store.tokenizer.encode([r.texts[i] for r in records], **corpus.length_options))
            assert tokens.window == (7 if "stride" in options else None)
    assert store.splits["train"].truncated.any() == ("stride" not in options)


def test_the_store_holds_pairs(tmp_path: Any) -> None:
    corpus = tiny_corpus(tmp_path, pair=True, max_length=12)
    store = opened(corpus, WordPieceTokenizer(vocab_size=400, special_tokens=True), pair=True)
    data = store.splits["train"]
    (tokens,) = data.fields
    expected = store.tokenizer.encode([r.texts for r in corpus.records("train", data.rows)], 12)
    assert_same(tokens, expected)
    np.testing.assert_array_equal(tokens.second_starts, expected.second_starts)
    batch = next(iter(Loader(data, batch_size=8).eval_batches()))
    separators = (batch.fields[0]["input_ids"] == 3) & (batch.fields[0]["token_type_ids"] == 1)
    assert separators.sum(dim=1).tolist() == [1] * 8


BAD = [
    ({"pair": True, "fields": ["text"]}, "pair needs two fields and join_fields: false, got .'text'. and False"),
    ({"pair": True, "fields": ["a", "b", "c"]}, "pair needs two fields"),
    ({"pair": True, "fields": ["a", "b"], "join_fields": True}, "pair needs two fields and join_fields: false"),
    ({"pair": True, "fields": ["a", "b"], "max_length": 9, "long_texts": "windows"}, "long_texts must be head with pair"),
    ({"pair": True, "fields": ["a", "b"], "max_length": 9, "long_texts": "head_tail"}, "long_texts must be head with pair"),
    ({"long_texts": "windows"}, "long_texts: windows needs a max_length"),
    ({"long_texts": "head_tail"}, "long_texts: head_tail needs a max_length"),
    ({"stride": 1, "max_length": 9}, "stride must be 0, or at least 1 with long_texts: windows, got 1 with head"),
    ({"stride": -1, "max_length": 9, "long_texts": "windows"}, "stride must be 0, or .* got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus_over(None, **options)  # type: ignore[arg-type]


WORDPIECE = WordPieceTokenizer(special_tokens=True)
UNFIT: list[tuple[Any, dict[str, Any], str]] = [
    (WordTokenizer(), {"pair": True}, "pair: true needs a tokenizer that marks"),
    (WordPieceTokenizer(), {"pair": True}, "pair: true needs a tokenizer that marks"),
    (WordTokenizer(ngrams=2), {"max_length": 9, "long_texts": "windows"}, "long_texts: windows does not go with n-grams"),
    (WORDPIECE, {"max_length": 2}, "max_length must be at least 3 .2 special tokens and a token per text., got 2"),
    (WORDPIECE, {"max_length": 4, "pair": True}, "max_length must be at least 5 .3 special tokens"),
    (WORDPIECE, {"max_length": 9, "long_texts": "windows", "stride": 7}, "stride must be less than the 7 tokens"),
    (ByteBPETokenizer(special_tokens=True), {"max_length": 2}, "max_length must be at least 3"),
    (WordTokenizer(), {"max_length": 9, "long_texts": "windows", "stride": 9}, "stride must be less than the 9 tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("tokenizer", "options", "message"), UNFIT)
def test_options_that_a_tokenizer_cannot_follow_are_refused(
    tokenizer: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_fits(tokenizer, **({"pair": False, "max_length": None, "long_texts": "head", "stride": 0} | options))


def test_options_that_fit_are_not_refused() -> None:
    check_fits(WORDPIECE, pair=False, max_length=3, long_texts="head", stride=0)
    check_fits(WORDPIECE, pair=True, max_length=5, long_texts="head", stride=0)
    check_fits(WORDPIECE, pair=False, max_length=9, long_texts="windows", stride=6)
    check_fits(WordTokenizer(ngrams=2), pair=False, max_length=1, long_texts="head_tail", stride=0)
    check_fits(
        PretrainedTokenizer(), pair=True, max_length=1, long_texts="head", stride=0
    )  # looked at with the weights
