"""Which words tokens were made of: whatever tokenizer, truncation, window, pair or n-gram, a token is the text at its place."""

import unicodedata

import numpy as np
import pytest
from explained_runs import TEXT, VARIANTS, embedded, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.explaining.words import token_spans, word_spans
from datasets.tokenizers.subword import SubwordTokenizer
from datasets.tokenizers.word import WordTokenizer

SCRIPTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aB1 .'\t\u4e2d\u0e01\u0e31\u304b\u3099\u0301\u200d\u00e9\u0130\u03a3"),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It isn't,  so!\n", ["It", "isn't,", "so!"]),
        ("", []),
        (" ", []),
        ("\u4e2d\u6587 ok\u4e2d", ["\u4e2d", "\u6587", "ok", "\u4e2d"]),
        ("\u304b\u3099\u304d", ["\u304b\u3099", "\u304d"]),
        ("caf\u0065\u0301 x", ["caf\u0065\u0301", "x"]),
    ],
)
def test_words_stand_between_spaces_and_scripts_without_them_are_cut(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


@settings()
@given(text=SCRIPTS, cut=st.booleans(), nfc=st.booleans(), lower=st.booleans())
def test_the_words_one_by_one_have_the_tokens_of_the_text(text: str, cut: bool, nfc: bool, lower: bool) -> None:
    tokenizer = WordTokenizer(cut_unspaced=cut, nfc=nfc, lower=lower)
    text = unicodedata.normalize("NFC", text) if nfc else text
    pieces = [token for start, end in word_spans(text, cut_unspaced=cut) for token in tokenizer.split(text[start:end])]
    assert pieces == tokenizer.split(text)
    assert len(token_spans(tokenizer, text, may_be_empty=True)) == len(pieces)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_token_is_the_text_at_its_place(name: str) -> None:
    predictor = opened(name)
    text, tokenizer = embedded(predictor), predictor.artifacts.tokenizer
    reading, num_seen, is_subword = text.reading, 0, isinstance(tokenizer, SubwordTokenizer)
    for field, owners in zip(text.fields, reading.owners, strict=True):
        tokens = [tokenizer.token(id) for id in field["input_ids"][field["attention_mask"]].tolist()]
        assert len(tokens) == len(owners)
        for token, words in zip(tokens, owners, strict=True):
            assert (words is None) == (token in ("[CLS]", "[SEP]"))
            if words and token not in ("<unk>", "[UNK]"):
                found = " ".join(reading.text(reading.words[word]).lower() for word in words)
                piece = token.removeprefix("##").replace("\u0120", "").lower()
                assert piece in found if is_subword else piece in (found, found.rstrip(","), ",")
                num_seen += 1
    assert num_seen > 5


def test_what_is_cut_off_is_not_read_and_does_not_come_back() -> None:
    predictor = opened("joined")  # 9 words of both fields
    reading = embedded(predictor).reading
    assert [reading.text(word) for word, is_read in zip(reading.words, reading.is_read, strict=True) if is_read] == (
        ["Boil", "the", "rice", "Salt", "the", "SOUP", "and", "whisk", "the"]
    )
    is_kept = np.array([word.start > 0 for word in reading.words])
    assert reading.keeping(is_kept).texts == ("the rice", "the SOUP and whisk the")
    assert reading.keeping(np.zeros(len(is_kept), dtype=bool)).texts == ("", "")


def test_a_token_of_several_words_gives_each_its_share() -> None:
    predictor = opened("n-grams")
    reading = embedded(predictor, "salt the soup").reading
    own = reading.owners[0]
    assert sorted(words for words in own if words and len(words) > 1) == [(0, 1), (0, 1, 2), (1, 2)]
    found = reading.by_word([np.array([6.0 * len(words or ()) for words in own])])
    assert found.tolist() == [6 * 3, 6 * 4, 6 * 3]  # itself, and one share of 6 of each n-gram that it is part of


def test_a_repeated_ngram_is_of_the_words_at_each_place() -> None:
    (own,) = embedded(opened("n-grams"), "salt the soup or salt the soup").reading.owners
    places = [words for words in own if words and len(words) > 1]
    assert sorted(places) == [(0, 1), (0, 1, 2), (1, 2), (4, 5), (4, 5, 6), (5, 6)]


def test_composed_text_is_what_is_read() -> None:
    predictor = opened("bytes")
    reading = embedded(predictor, {"title": "caf\u0065\u0301 a", "text": TEXT["text"]}).reading
    assert reading.text(reading.words[0]) == "caf\u00e9"
