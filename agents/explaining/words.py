"""The words of a text as given, and which of them each token that the model reads was made of.

A word is what stands between white space; in scripts without spaces each character, with its marks, is one.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from datasets.rows.corpus import Corpus
from datasets.rows.records import Record
from datasets.tokenizers.long_texts import fit, fit_pairs
from datasets.tokenizers.special_tokens import Ids
from datasets.tokenizers.subword import SubwordTokenizer
from datasets.tokenizers.tokens import Tokens
from datasets.tokenizers.word import UNSPACED, WordTokenizer

JOINERS = "\u200c\u200d"
UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
Span = tuple[int, int]  # first character, and the one after the last


class Word(NamedTuple):
    """A word of a field: characters start to end of its text."""

    field: int
    start: int
    end: int


class Reading:
    """A record, its words, and for each encoder which words each token was made of.

    words: of all fields, in order.
    owners: by encoder and token, in the order of the batch's real tokens: the indices of words, several of an n-gram and none of an
        empty text's token; None of special tokens.
    is_read (N,): which words the model reads, at least in part.
    """

    def __init__(self, record: Record, corpus: Corpus, tokenizer: Any, ids: Sequence[np.ndarray]) -> None:
        """ids: for each encoder those of the record, as the tokenizer encodes them."""
        if getattr(tokenizer, "nfc", False):  # the model reads the composed text, which looks the same
            record = record._replace(texts=tuple(unicodedata.normalize("NFC", text) for text in record.texts))
        cut_unspaced = getattr(tokenizer, "cut_unspaced", True)
        self.record, self.fields = record, corpus.fields
        self.words = [
            Word(field, *span)
            for field, text in enumerate(record.texts)
            for span in word_spans(text, cut_unspaced=cut_unspaced)
        ]
        self.owners: list[list[tuple[int, ...] | None]] = []
        for number, (given, own) in enumerate(zip(corpus.encoder_texts(record), ids, strict=True)):
            sides = given if isinstance(given, tuple) else (given,)
            of_characters = self._of_characters(number, sides, is_joined=corpus.join_fields)
            places = token_places(tokenizer, sides, corpus.length_options, own)
            self.owners.append([None if place is None else _owners(of_characters, *place) for place in places])
        self.is_read = np.zeros(len(self.words), dtype=bool)
        for token in (token for own in self.owners for token in own if token):
            self.is_read[list(token)] = True

    def _of_characters(self, encoder: int, sides: Sequence[str], *, is_joined: bool) -> list[np.ndarray]:
        """For each text of an encoder's input the word of each character; white space is of the word after it, at the end -1."""
        found, ends = [np.full(len(side), -1) for side in sides], [0 for _ in sides]
        starts = np.cumsum([0, *(len(text) + 1 for text in self.record.texts)])  # of the fields in a joined text
        for number, word in enumerate(self.words):
            if is_joined:
                side, first = 0, int(starts[word.field])
            else:
                side, first = word.field - encoder, 0
            if 0 <= side < len(sides):
                found[side][ends[side] : first + word.end] = number
                ends[side] = first + word.end
        return found

    def text(self, word: Word) -> str:
        """The word itself."""
        return self.record.texts[word.field][word.start : word.end]

    def by_word(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """For each encoder (T,) scores of its tokens -> (N,) of the words; a token of several words gives each an equal share."""
        found = np.zeros(len(self.words))
        for own, values in zip(self.owners, scores, strict=True):
            for words, value in zip(own, values.tolist(), strict=True):
                for word in words or ():
                    found[word] += value / len(words or ())
        return found

    def keeping(self, is_kept: np.ndarray) -> Record:
        """The record with these words (N,) alone, each with the white space before it; none that the model did not read.

        Without the last part one that `data.max_length` cut off does not take the place of a removed word.
        """
        texts, ends = ["" for _ in self.fields], [0 for _ in self.fields]
        for word, is_used in zip(self.words, is_kept & self.is_read, strict=True):
            if is_used:
                texts[word.field] += self.record.texts[word.field][ends[word.field] : word.end]
            ends[word.field] = word.end
        return self.record._replace(texts=tuple(text.strip() for text in texts))


def word_spans(text: str, *, cut_unspaced: bool = True) -> Iterator[Span]:
    """The words of a text; cut_unspaced: each character of a script without spaces is a word of its own."""
    for found in re.finditer(r"\S+", text):
        start, base = found.start(), text[found.start()]
        for place in range(found.start() + 1, found.end() if cut_unspaced else 0):
            character = text[place]
            if unicodedata.category(character)[0] == "M" or character in JOINERS:
                continue
            if UNSPACED_CHARACTER.match(character) or UNSPACED_CHARACTER.match(base):
                yield start, place
                start = place
            base = character
        yield start, found.end()


def token_places(
    tokenizer: Any, sides: Sequence[str], length_options: dict[str, Any], ids: np.ndarray
) -> list[tuple[int, Span] | None]:
    """(which text, span) of each token of an encoder's input, in the order of its ids; None for special tokens.

    The numbers of the bare tokens take the way of the ids through truncation, windows and special tokens.
    """
    is_pair = len(sides) > 1
    bare = [token_spans(tokenizer, text, may_be_empty=is_pair) for text in sides]
    places = [(side, span) for side, spans in enumerate(bare) for span in spans]
    if is_pair:
        first, second = _numbered(0, len(bare[0])), _numbered(len(bare[0]), len(places))
        laid = fit_pairs(first, second, length_options["max_length"], _nowhere(tokenizer.special.pair))
    else:
        laid = fit(_numbered(0, len(places)), **length_options, special=_nowhere(tokenizer.special.single))
    found = [places[number] if number >= 0 else None for number in laid.ids.tolist()]
    if len(found) == len(ids):
        return found
    spans = ngram_spans(tokenizer, ids[: len(found)].tolist(), ids[len(found) :].tolist())
    return [*found, *((0, (found[a][1][0], found[b - 1][1][1])) for a, b in spans)]  # type: ignore[index]


def token_spans(tokenizer: Any, text: str, *, may_be_empty: bool) -> list[Span]:
    """The characters that each token of a bare text was made of, before truncation and without n-grams.

    may_be_empty: whether a text without a token is one of none, instead of one unknown token.
    """
    if isinstance(tokenizer, SubwordTokenizer):
        found = list(tokenizer.tokenizer.encode(text, add_special_tokens=False).offsets)
        may_be_empty = may_be_empty or any(tokenizer.special.single)
    else:
        words: WordTokenizer = tokenizer
        spans = word_spans(text, cut_unspaced=words.cut_unspaced)
        found = [(start, end) for start, end in spans for _ in words.split(text[start:end])]
    return found if found or may_be_empty else [(0, 0)]


def ngram_spans(tokenizer: WordTokenizer, words: list[int], ngrams: list[int]) -> Iterator[Span]:
    """The words, from and to, of each n-gram that follows the ids of a text's words: by order, then by place."""
    size, start, length = len(tokenizer.words), 0, 0
    for id in ngrams:
        parts = tokenizer.ngram_table.words(id - size, size)
        start, length = (start if len(parts) == length else 0), len(parts)
        while words[start : start + length] != parts:
            start += 1
        yield start, start + length
        start += 1


def _owners(of_characters: Sequence[np.ndarray], side: int, span: Span) -> tuple[int, ...]:
    """The words that a span of characters overlaps."""
    found = np.unique(of_characters[side][span[0] : span[1]])
    return tuple(found[found >= 0].tolist())


def _numbered(start: int, end: int) -> Tokens:
    """One text whose ids are numbers."""
    ids = np.arange(start, end, dtype=np.int32)
    return Tokens.from_lengths(ids, np.array([end - start]), np.zeros(1, dtype=bool))


def _nowhere(special: tuple[Ids, ...]) -> Any:
    return tuple(tuple(-1 for _ in ids) for ids in special)
