"""WordPiece and byte BPE: total, saved and read, and nothing in a text can pass for a special token."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from conftest import tiny_rows
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st
from token_cases import as_lists, assert_same

from datasets.store.store import parse_tokenizer, tokenizer_hash, tokenizer_json
from datasets.tokenizers.special_tokens import SPECIAL, UNKNOWN_ID
from datasets.tokenizers.subword import ByteBPETokenizer, SubwordTokenizer, WordPieceTokenizer
from datasets.tokenizers.word import WordTokenizer

TEXTS = [f"{row['title']}: {row['text']}" for row in tiny_rows()]
KINDS = {"wordpiece": WordPieceTokenizer, "byte_bpe": ByteBPETokenizer}
ANY_TEXTS = st.lists(st.text(max_size=30) | st.sampled_from([*TEXTS[:5], *SPECIAL, " ".join(SPECIAL)]), max_size=5)


def trained(kind: str) -> SubwordTokenizer:
    tokenizer = KINDS[kind](vocab_size=400)
    tokenizer.train([TEXTS[:50], TEXTS[50:]])
    return tokenizer


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> SubwordTokenizer:
    return trained(request.param)


@ANY
@given(texts=ANY_TEXTS, max_length=st.none() | st.integers(1, 5))
def test_any_text_has_ids_in_range_and_none_is_special(
    tokenizer: SubwordTokenizer, texts: list[str], max_length: int | None
) -> None:
    tokens = tokenizer.encode(texts, max_length)
    assert len(tokens) == len(tokens.truncated) == len(texts)
    assert (tokens.lengths >= 1).all()
    assert tokens.lengths.max(initial=0) <= (max_length or np.inf)
    assert ((tokens.ids == UNKNOWN_ID) | (tokens.ids >= len(SPECIAL))).all()
    assert (tokens.ids < tokenizer.vocab_size).all()
    again = SubwordTokenizer.from_json(json.loads(tokenizer_json(tokenizer)))
    assert_same(tokens, again.encode(texts, max_length))


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_the_same_vocabulary_every_time(kind: str) -> None:
    assert len({tokenizer_hash(trained(kind)) for _ in range(5)}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_special_tokens_are_special(kind: str) -> None:
    added = trained(kind).to_json()["tokenizer"]["added_tokens"]
    assert [(token["id"], token["content"]) for token in added] == list(enumerate(SPECIAL))


@ANY
@given(text=st.text(min_size=1, max_size=40))
def test_byte_bpe_gives_back_any_text(byte_bpe: SubwordTokenizer, text: str) -> None:
    (ids,) = as_lists(byte_bpe.encode([text]))
    assert byte_bpe.tokenizer.decode(ids, skip_special_tokens=False) == unicodedata.normalize("NFC", text)
    assert UNKNOWN_ID not in ids


@pytest.fixture(scope="module")
def byte_bpe() -> SubwordTokenizer:
    return trained("byte_bpe")


def test_pieces_of_a_word_make_the_word(tokenizer: SubwordTokenizer) -> None:
    (ids,) = as_lists(tokenizer.encode(["the anchor anchored"]))
    text = " ".join(tokenizer.token(id) for id in ids).replace(" ##", "").replace("Ġ", " ")
    assert "".join(text.split()) == "theanchoranchored"


def test_what_is_cut_is_marked(tokenizer: SubwordTokenizer) -> None:
    (whole,) = as_lists(tokenizer.encode(["drop the anchor"]))
    tokens = tokenizer.encode(["drop the anchor"] * 2 + [""], max_length=len(whole) - 1)
    assert tokens.truncated.tolist() == [True, True, False]
    assert as_lists(tokens)[0] == whole[:-1]
    assert not tokenizer.encode(["drop the anchor"], max_length=len(whole)).truncated[0]


class BrokenTexts:
    """Chunks of which the second cannot be read."""

    def __iter__(self) -> Iterator[list[str]]:
        yield TEXTS
        raise KeyError("a bad row")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_the_texts_ends_the_training(kind: str) -> None:
    with pytest.raises(KeyError, match="a bad row"):
        KINDS[kind]().train(BrokenTexts())


def test_texts_that_can_be_read_only_once_are_refused_where_they_are_read_twice() -> None:
    with pytest.raises(TypeError, match="read twice"):
        WordPieceTokenizer().train(iter([TEXTS]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_without_room_for_single_bytes_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="vocab_size must be at least 261"):
        KINDS[kind](vocab_size=260)


SUBWORD = json.loads(tokenizer_json(trained("wordpiece")))
WORD = WordTokenizer(ngrams=2).to_json()
NO_TOKENIZER: list[Any] = [
    b"",
    b"<html>404</html>",
    b"\xff\xfe",
    b"[" * 100_000,
    b"null",
    b"[]",
    b"{}",
    {"type": "other"},
    {"type": ["word"]},
    {"type": "word"},
    {"type": "subword"},
    {"type": "subword", "tokenizer": {}},
    {"type": "subword", "tokenizer": {"model": {"type": "WordPiece", "vocab": {"a": -1}}}},
    {"type": "subword", "tokenizer": SUBWORD["tokenizer"] | {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}},
    {"type": "subword", "tokenizer": SUBWORD["tokenizer"] | {"normalizer": {"type": "Evil"}}},
    WORD | {"words": None},
    WORD | {"words": ["a", ["b"]]},
    WORD | {"ngrams": [1]},
    WORD | {"ngrams": {"order": 2, "codes": [[2**70]]}},
    WORD | {"ngrams": {"order": "2", "codes": [[]]}},
    WORD | {"ngrams": {"order": 2, "codes": 3}},
]  # fmt: skip


@pytest.mark.parametrize("content", NO_TOKENIZER, ids=lambda content: repr(content)[:40])
def test_a_file_that_is_no_tokenizer_gives_a_value_error(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ValueError):
        parse_tokenizer(path.read_bytes())


@pytest.mark.parametrize("kind", ["word", *KINDS])
def test_a_saved_tokenizer_is_the_same_tokenizer(tmp_path: Path, kind: str) -> None:
    tokenizer: Any = WordTokenizer(ngrams=2) if kind == "word" else trained(kind)
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(tokenizer), encoding="utf-8")
    assert tokenizer_hash(parse_tokenizer((tmp_path / "tokenizer.json").read_bytes())) == tokenizer_hash(tokenizer)


@pytest.mark.parametrize(("kind", "lower"), [("wordpiece", True), ("wordpiece", False), ("byte_bpe", None)], ids=str)
def test_two_unicode_forms_are_one_text(kind: str, lower: bool | None) -> None:
    composed = ["Café Zürich", "pâté 한글"] * 20
    decomposed = [unicodedata.normalize("NFD", text) for text in composed]
    options: dict[str, Any] = {"vocab_size": 400} | ({} if lower is None else {"lower": lower})
    tokenizers_by_form = []
    for texts in (composed, decomposed):
        tokenizer = KINDS[kind](**options)
        tokenizer.train([texts])
        tokenizers_by_form.append(tokenizer_hash(tokenizer))
    assert len(set(tokenizers_by_form)) == 1
    assert_same(tokenizer.encode(composed), tokenizer.encode(decomposed))
    saved = tokenizer.to_json()
    assert_same(SubwordTokenizer.from_json(saved).encode(decomposed), tokenizer.encode(composed))
    library = tokenizers.Tokenizer.from_str(tokenizer.published())  # what is exported does it by itself
    assert (
        library.encode(decomposed[0]).ids == library.encode(composed[0]).ids == as_lists(tokenizer.encode(composed))[0]
    )
    del saved["nfc"]
    old = SubwordTokenizer.from_json(saved)  # of a run before this option
    assert old.to_json() == saved
    assert lower or as_lists(old.encode(composed)) != as_lists(old.encode(decomposed))


def foreign(vocab: dict[str, int], unknown: str = "[UNK]") -> dict[str, Any]:
    """A tokenizer.json of WordPiece that others have made."""
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token=unknown))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return {"type": "subword", "tokenizer": json.loads(library.to_str())}


def test_a_foreign_tokenizer_keeps_its_own_unknown_token() -> None:
    tokenizer = SubwordTokenizer.from_json(foreign({"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}))
    assert as_lists(tokenizer.encode(["a b", "z", "", " "])) == [[1, 2], [3], [3], [3]]
    tokenizer = SubwordTokenizer.from_json(foreign({"a": 0, "[PAD]": 1, "[UNK]": 2}))  # its padding is not 0
    assert as_lists(tokenizer.encode(["a z"])) == [[0, 2]]


FOREIGN = [
    ({"[PAD]": 0, "[UNK]": 1, "a": 3}, "its ids have gaps or duplicates"),
    ({"[PAD]": 0, "a": 1}, "not a tokenizer|a tokenizer without a token for unknown words"),
]


@pytest.mark.parametrize(("vocab", "message"), FOREIGN)
def test_a_foreign_tokenizer_that_does_not_fit_is_refused(vocab: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubwordTokenizer.from_json(foreign(vocab))


@pytest.mark.parametrize("is_special", [True, False])
def test_a_foreign_tokenizer_that_a_text_can_give_a_special_token_is_refused(is_special: bool) -> None:
    """As one that cuts at spaces alone does, to which [SEP] is a word like any other."""
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[PAD]": 0, "[SEP]": 1, "[UNK]": 2}, unk_token="[UNK]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(["[PAD]", "[SEP]"])
    if is_special:
        library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.post_processor = tokenizers.processors.TemplateProcessing("$A [SEP]", "$A [SEP] $B", [("[SEP]", 1)])
    values = {"tokenizer": json.loads(library.to_str())}
    if is_special:
        assert as_lists(SubwordTokenizer.from_json(values).encode(["[SEP] a"])) == [[2, 2, 2, 2, 1]]
    else:
        with pytest.raises(ValueError, match=r"reads '\[PAD\]' in a text as its special token"):
            SubwordTokenizer.from_json(values)


def test_a_foreign_tokenizer_whose_lengths_are_its_own_is_read_without_them(byte_bpe: SubwordTokenizer) -> None:
    library = tokenizers.Tokenizer.from_str(byte_bpe.tokenizer.to_str())
    library.enable_truncation(3)
    library.enable_padding(length=8)
    again = SubwordTokenizer.from_json({"tokenizer": json.loads(library.to_str())})
    assert_same(again.encode(TEXTS), byte_bpe.encode(TEXTS))
