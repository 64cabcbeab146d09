"""Words -> ids: total, stable, in range, and a vocabulary that ties cannot change."""

import itertools
import json
import re
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pytest
from corpora import ANY
from hypothesis import assume, given
from hypothesis import strategies as st
from token_cases import WORDS, as_lists, assert_same, trained_on

from datasets.rows.split import text_key
from datasets.tokenizers import word
from datasets.tokenizers.word import SPECIAL, UNKNOWN_ID, UNSPACED, WordTokenizer

TEXTS = WORDS
ANY_TEXTS = st.lists(st.text(max_size=30) | st.sampled_from(TEXTS), max_size=5)


SPLITS = [
    ("It's 3.5, no?", ["it", "'", "s", "3", ".", "5", ",", "no", "?"]),
    ("snake_case e-mail", ["snake_case", "e", "-", "mail"]),
    (" \t\n\x0b\u2003", []),
    ("ÜBER naïve 東京", ["über", "naïve", "東", "京"]),
    ("a\x00b 😀", ["a", "\x00", "b", "😀"]),
    ("<pad> <unk>", ["<", "pad", ">", "<", "unk", ">"]),
    ("cafe\u0301s cafés 5 \u212b", ["cafés", "cafés", "5", "å"]),  # decomposed and composed are one
    ("我爱NBA，2024年", ["我", "爱", "nba", "，", "2024", "年"]),
    ("カフェに行く。か\u3099", ["カ", "フ", "ェ", "に", "行", "く", "。", "が"]),
    ("ที่นี่ ๒๕๖๖ ครับ", ["ที่", "นี่", "๒๕๖๖", "ค", "รั", "บ"]),
    ("ສະ ខ្មែរ မြန်", ["ສ", "ະ", "ខ្", "មែ", "រ", "မြ", "န်"]),
    ("한국어 단어", ["한국어", "단어"]),
    ("\u1112\u1161\u11ab 글", ["한", "글"]),  # letters of a syllable, as macOS writes file names
    ("中e\u0301a葛\U000e0100x", ["中", "éa", "葛\U000e0100", "x"]),  # a variation selector belongs to its character
    ("हिन्दी में भाषा", ["हिन्दी", "में", "भाषा"]),
    ("المُعَلِّم می\u200cخواهم", ["المُعَلِّم", "می\u200cخواهم"]),  # vowel signs; a joiner inside a word
    ("\u0301x ❤️!", ["\u0301", "x", "❤", "\ufe0f", "!"]),
]


@ANY
@given(text=st.text(st.characters(max_codepoint=0x30FF) | st.sampled_from("a \u0301\u093f\u200d'’Ж"), max_size=30))
def test_no_sign_is_lost_and_marks_stay_with_their_words(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    words = WordTokenizer(lower=False).split(text)
    assert "".join(words) == "".join(text.split()) or not text.isprintable()
    for first, second in itertools.pairwise(words):
        is_mark = unicodedata.category(second[0])[0] == "M"
        assert not (is_mark and first[-1].isalnum() and first + second in text)


@pytest.mark.parametrize(("text", "words"), SPLITS)
def test_words_and_marks(text: str, words: list[str]) -> None:
    assert WordTokenizer().split(text) == words


def test_known_words_come_back_and_others_are_unknown() -> None:
    tokenizer = trained_on()
    (ids,) = as_lists(tokenizer.encode(["The CAT ate"]))
    assert [tokenizer.token(id) for id in ids] == ["the", "cat", "<unk>"]
    (ids,) = as_lists(trained_on(lower=False).encode(["The CAT"]))
    assert ids[0] != UNKNOWN_ID == ids[1]


@ANY
@given(texts=ANY_TEXTS, max_length=st.none() | st.integers(1, 5))
@pytest.mark.parametrize(
    "options", [{}, {"lower": False, "min_count": 2}, {"ngrams": 3, "ngram_min_count": 1}], ids=str
)
def test_any_text_has_ids_in_range(options: dict[str, Any], texts: list[str], max_length: int | None) -> None:
    tokenizer = trained_on(**options)
    tokens = tokenizer.encode(texts, max_length)
    assert len(tokens) == len(tokens.truncated) == len(texts)
    assert tokens.offsets[-1] == len(tokens.ids)
    assert (tokens.lengths >= 1).all()
    assert ((tokens.ids >= 1) & (tokens.ids < tokenizer.vocab_size)).all()  # 0 is padding alone
    assert_same(tokens, tokenizer.encode(texts, max_length))
    assert_same(tokens, WordTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json()))).encode(texts, max_length))


@ANY
@given(texts=ANY_TEXTS)
def test_a_text_has_the_same_ids_in_any_company(texts: list[str]) -> None:
    tokenizer = trained_on(ngrams=2, ngram_min_count=1)
    together = as_lists(tokenizer.encode(texts))
    assert together == [as_lists(tokenizer.encode([text]))[0] for text in texts]


CHARACTERS = "ab\u00e9\u0301\u4e00\ud800"
BEGINNINGS = st.sampled_from(["", "abbabbab", "abbabbabbabbabb"])  # 8 and 15 bytes
ANY_WORD = st.builds(str.__add__, BEGINNINGS, st.text(CHARACTERS, max_size=2)).filter(bool)


@ANY
@given(
    words=st.lists(ANY_WORD, max_size=9, unique=True),
    others=st.lists(ANY_WORD),
    text=st.text(f"{CHARACTERS} .\0\xa0\u20ac"),
)
@pytest.mark.parametrize("factor", [word.FACTOR, np.uint64(0)])  # 0: words with the same first 8 bytes have one code
def test_ids_are_those_of_a_dict(factor: np.uint64, words: list[str], others: list[str], text: str) -> None:
    tokenizer = WordTokenizer()
    tokenizer.set_vocabulary(Counter(words))
    texts = [text, "", " ".join([*words, *others]), f"{words}{others}{text}"]
    expected = [[tokenizer.ids.get(word, UNKNOWN_ID) for word in tokenizer.split(text)] for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word, "FACTOR", factor)
        found = as_lists(tokenizer.encode(texts))
    assert found == [ids or [UNKNOWN_ID] for ids in expected]


@pytest.mark.parametrize("block", [1, 9, 2**18])
def test_texts_in_blocks_are_those_of_one_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, texts = trained_on(ngrams=2, ngram_min_count=1), [*TEXTS, "sat", ""]
    expected = tokenizer.encode(texts, 3)
    monkeypatch.setattr(word, "BLOCK", block)
    assert_same(tokenizer.encode(texts, 3), expected)
    assert len(tokenizer.encode([])) == 0


def test_even_half_of_a_surrogate_pair_is_only_unknown() -> None:
    assert as_lists(trained_on().encode(["\ud800", ""])) == [[UNKNOWN_ID], [UNKNOWN_ID]]


def test_what_is_cut_is_marked() -> None:
    tokens = trained_on().encode(["sat", "sat sat", "sat sat sat"], max_length=2)
    assert tokens.lengths.tolist() == [1, 2, 2]
    assert tokens.truncated.tolist() == [False, False, True]


VOCABULARIES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["c", "a", "b", "d", "e"]),  # the frequent first, equal ones by the alphabet
    ({"min_count": 2}, ["c", "a", "b"]),
    ({"max_size": 2}, ["c", "a"]),
    ({"min_count": 2, "max_size": 9}, ["c", "a", "b"]),
]


@pytest.mark.parametrize(("options", "words"), VOCABULARIES)
def test_the_vocabulary_is_the_most_frequent_words(options: dict[str, Any], words: list[str]) -> None:
    texts = ["e c b a", "c d b a c"]
    for order in (texts, texts[::-1], [" ".join(text.split()[::-1]) for text in texts]):
        tokenizer = trained_on(order, **options)
        assert tokenizer.words[2:] == words
        assert tokenizer.vocab_size == len(words) + 2


def test_words_are_lower_cased_and_marks_stand_alone() -> None:
    expected = " ".join(TEXTS).lower().replace(".", " .").replace("!", " !").replace(",", " ,").split()
    assert [word for text in TEXTS for word in WordTokenizer().split(text)] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "min_count"),
        ({"ngram_min_count": 0}, "ngram_min_count"),
        ({"max_size": 0}, "max_size must be at least 1, got 0"),
        ({"ngrams": 0}, "ngrams must be between 1 and 5, got 0"),
        ({"ngrams": 6}, "ngrams must be between 1 and 5, got 6"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordTokenizer(**options)


BAD_FILES: list[tuple[str, Any]] = [
    ("words", ["a", "b", "a"]),
    ("words", ["a", "<pad>"]),
    ("words", ["a", 3]),
    ("lower", "yes"),
    ("ngrams", {"order": 2, "codes": []}),
    ("ngrams", {"order": 2, "codes": [[5, 4]]}),
    ("ngrams", {"order": 2, "codes": [[-1]]}),
    ("ngrams", {"order": 2, "codes": [[4**2 * 9]]}),
    ("ngrams", {"order": 3, "codes": [[10], [99]]}),
    ("ngrams", {"order": 2, "codes": [[[5]]]}),
    ("ngrams", {"order": 9, "codes": [[]] * 8}),
]


@pytest.mark.parametrize(("key", "value"), BAD_FILES, ids=str)
def test_a_file_whose_ids_would_not_be_its_words_is_refused(key: str, value: Any) -> None:
    values = trained_on(["a b a b"], ngrams=2).to_json()
    with pytest.raises(ValueError):
        WordTokenizer.from_json(values | {key: value})


def test_a_vocabulary_of_a_million_words_is_read() -> None:
    values = WordTokenizer().to_json() | {"words": [f"w{i}" for i in range(1_000_000)]}
    tokenizer = WordTokenizer.from_json(values)
    assert as_lists(tokenizer.encode(["w999999 x"])) == [[1_000_001, UNKNOWN_ID]]


@ANY
@given(text=st.text() | st.text(st.characters(max_codepoint=127)) | st.text("aB_1 .,;-'\t\n\x0b\x1c\x00\x7f\u00a0é“"))
def test_words_are_runs_of_letters_digits_and_underscores_and_every_other_sign_alone(text: str) -> None:
    marks = [sign for sign in text.lower() if unicodedata.category(sign)[0] == "M" or sign in "\u200c\u200d"]
    assume(not marks)  # these belong to their word: see above
    tokenizer = WordTokenizer(nfc=False, cut_unspaced=False)
    assert tokenizer.split(text) == re.findall(r"\w+|[^\w\s]", text.lower())
    if tokenizer.split(text) != WordTokenizer().split(text):
        composed = unicodedata.normalize("NFC", text.lower())
        assert composed != text.lower() or re.search(f"[{UNSPACED}]", text)


@ANY
@given(text=st.text(st.characters(max_codepoint=0x30FF) | st.sampled_from("é\u0301Å\u212b가\u11a8중 a"), max_size=20))
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_two_unicode_forms_of_a_text_are_the_same_words_and_one_text(form: str, text: str) -> None:
    other = unicodedata.normalize(form, text)
    assert WordTokenizer(lower=False).split(other) == WordTokenizer(lower=False).split(text)
    assert text_key([other]) == text_key([unicodedata.normalize("NFC", text)])


def test_what_is_passed_over_is_neither_a_mark_nor_changed_by_nfc() -> None:
    for cut_unspaced, special in SPECIAL.items():
        for sign in map(chr, [*range(0xD800), *range(0xE000, 0x110000)]):
            if special.match(sign) is None:
                assert unicodedata.normalize("NFC", sign) == sign
                assert unicodedata.category(sign)[0] != "M"
                assert not (cut_unspaced and re.match(f"[{UNSPACED}]", sign))


def test_a_tokenizer_saved_before_these_options_splits_as_it_did_and_keeps_its_hash() -> None:
    old = {"type": "word", "lower": True, "words": ["東京", "cafe\u0301"], "ngrams": {"order": 1, "codes": []}}
    tokenizer = WordTokenizer.from_json(old)
    assert tokenizer.split("東京 Cafe\u0301 caf\u00e9") == ["東京", "cafe\u0301", "caf\u00e9"]
    assert json.dumps(tokenizer.to_json()) == json.dumps(old)
    new = WordTokenizer.from_json(json.loads(json.dumps(WordTokenizer().to_json())))
    assert (new.nfc, new.cut_unspaced) == (True, True)
