"""Word tokenizer: words and punctuation marks, a vocabulary of the frequent ones, and their n-grams."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.tokenizers.long_texts import fit
from datasets.tokenizers.ngrams import FACTOR, CodeIndex, NgramTable
from datasets.tokenizers.processes import blocks
from datasets.tokenizers.special_tokens import SpecialTokens
from datasets.tokenizers.tokens import Tokens, joined

PAD, UNKNOWN = "<pad>", "<unk>"
PAD_ID, UNKNOWN_ID = 0, 1
BLOCK = 2**18  # characters of texts encoded at a time, so that their words fit the processor's cache
FLAGS = ("nfc", "cut_unspaced")  # saved only if true: an older tokenizer has neither, and keeps its hash
PUNCTUATION = re.compile(r"([^\w\s])")  # what is neither a letter, a digit, an underscore nor white space
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
ASCII_CHARACTERS = [(character, f" {character} ") for character in map(chr, range(128)) if PUNCTUATION.match(character)]
PRINTABLE_CHARACTERS = [(character, spaced) for character, spaced in ASCII_CHARACTERS if character.isprintable()]
# Python's \w has no combining marks: PUNCTUATION breaks up Hindi, pointed Arabic and a decomposed "cafe\u0301". The pattern that
# keeps them together takes twice the time, so it is used only for texts that may contain a mark, or that NFC may change: a quick
# check rules out Latin, Greek, Cyrillic and Korean letters, typographic quotes and mathematical symbols, and Chinese characters
# where these form words.
PLAIN = (
    "\x00-\u02ff\u0370-\u0373\u0375-\u037d\u037f-\u0386\u0388-\u0482\u048a-\u0590\u200e-\u20cf\u2100-\u2125\u2127-\u2129"
    "\u212c-\u2328\u232b-\u2adb\u2add-\u2cee\uac00-\ud7ff\U0001f000-\U0001faff"
)
PLAIN_IN_WORDS = (
    "\u3100-\ua66e\ud800-\uf8ff\ufb00-\ufb1c\U0001d400-\U0001d9ff\U0001fb00-\U0002f7ff\U0002fb00-\U000e00ff"
)
# Letters and marks of scripts that put no space between words: Thai, Lao, Burmese, Khmer, Tai, Japanese, Chinese.
UNSPACED = (
    "\u0e00-\u0e4f\u0e5a-\u0ecf\u0eda-\u0eff\u1000-\u103f\u104a-\u108f\u109a-\u109f\u1780-\u17df\u17ea-\u17ff\u1950-\u19cf"
    "\u19de-\u1a7f\u1a9a-\u1aaf\ua9e0-\ua9ef\ua9fa-\ua9ff\uaa60-\uaadf\u3005-\u3007\u3021-\u3035\u303b\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
# Characters that PUNCTUATION cannot handle, by `cut_unspaced`.
SPECIAL = {True: re.compile(f"[^{PLAIN}]"), False: re.compile(f"[^{PLAIN}{PLAIN_IN_WORDS}]")}


@functools.cache
def _marked_word(cut_unspaced: bool) -> re.Pattern[str]:
    """A word with its combining marks and the joiners inside it (UAX 29, rule WB4), or a character of a script without spaces, or
    else one character."""
    codes = [*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)]
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M") + "\u200c\u200d"
    character, letter = (rf"[{UNSPACED}][{marks}]*+|", rf"[^\W{UNSPACED}]") if cut_unspaced else ("", r"\w")
    return re.compile(rf"{character}{letter}++(?:[{marks}]+{letter}*+)*+|[^\w\s]")


class WordTokenizer:
    """Words and punctuation marks, with a vocabulary from the training texts; with ngrams: 2 also bigrams (Joulin et al. 2016).

    lower: lowercase the text
    nfc: normalise the text to Unicode NFC
    cut_unspaced: split Chinese, Japanese, Thai and other scripts without spaces into characters; false: at spaces
    min_count: words that occur less often in the training texts are unknown
    max_size: maximum vocabulary size, the most frequent words; null: no limit
    ngrams: maximum length of word n-grams, added as tokens; data.max_length does not count them; 1: words only
    ngram_min_count: n-grams that occur less often are ignored
    """

    unknown_id = UNKNOWN_ID
    special = SpecialTokens()

    def __init__(
        self,
        *,
        lower: bool = True,
        nfc: bool = True,
        cut_unspaced: bool = True,
        min_count: int = 1,
        max_size: int | None = None,
        ngrams: int = 1,
        ngram_min_count: int = 2,
    ) -> None:
        if min_count < 1 or ngram_min_count < 1:
            raise ValueError(f"min_count and ngram_min_count must be at least 1, got {min_count} and {ngram_min_count}")
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {max_size}")
        if not 1 <= ngrams <= 5:
            raise ValueError(f"ngrams must be between 1 and 5, got {ngrams}")
        self.lower, self.nfc, self.cut_unspaced = lower, nfc, cut_unspaced
        self.min_count, self.max_size = min_count, max_size
        self.words: list[str] = [PAD, UNKNOWN]
        self.ids = {PAD: PAD_ID, UNKNOWN: UNKNOWN_ID}
        self.ngram_table = NgramTable(ngrams, ngram_min_count)
        self._index = WordIndex(self.ids)  # of the ids as they are now

    @property
    def ngrams(self) -> int:
        """Maximum length of the word n-grams; 1: words only."""
        return self.ngram_table.order

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to vocab_size - 1: padding, unknown, words, n-grams."""
        return len(self.words) + self.ngram_table.size

    def split(self, text: str) -> list[str]:
        """The words and punctuation marks of a text."""
        text = self._spaced(text)
        # Replacing one by one is 3 times faster than a pattern: 14 million words a second.
        for character, spaced in PRINTABLE_CHARACTERS if text.isprintable() else ASCII_CHARACTERS:
            if character in text:
                text = text.replace(character, spaced)
        return text.split()

    def _spaced(self, text: str) -> str:
        """The text with its words cut apart by spaces, or by the marks of punctuation in ASCII, which are left as they are."""
        text = text.lower() if self.lower else text
        if text.isascii():
            return text
        if SPECIAL[self.cut_unspaced].search(text) is not None:
            text = unicodedata.normalize("NFC", text) if self.nfc else text
            return " ".join(_marked_word(self.cut_unspaced).findall(text))
        for character in set(BEYOND_ASCII.findall(text)):
            if character.isspace():
                text = text.replace(character, " ")
            elif PUNCTUATION.match(character):
                text = text.replace(character, f" {character} ")
        return text

    def set_vocabulary(self, counts: Counter[str]) -> None:
        """Keep the max_size most frequent words that occur at least min_count times; ties in alphabetical order."""
        frequent = sorted((-n, word) for word, n in counts.items() if n >= self.min_count)
        words = [word for _, word in frequent[: self.max_size]]
        self.words = [PAD, UNKNOWN, *words]
        self.ids = {word: id for id, word in enumerate(self.words)}

    def encode(
        self, texts: Sequence[str], max_length: int | None = None, *, long_texts: str = "head", stride: int = 0
    ) -> Tokens:
        """Texts -> ids with n-grams; a text without words is one unknown word. For long texts see long_texts.py."""
        cut = list(blocks(texts, len, BLOCK)) or [[]]  # no texts are one block, too
        parts = [fit(self.encode_words(block), max_length, long_texts, stride) for block in cut]
        return joined([self.add_ngrams(part) for part in parts])

    def encode_words(self, texts: Sequence[str]) -> Tokens:
        """Texts -> the ids of their words, without n-grams."""
        if self._index.ids is not self.ids:
            self._index = WordIndex(self.ids)
        ids, lengths = self._index.find([self._spaced(text).encode(errors="surrogatepass") for text in texts])
        return Tokens.from_lengths(ids, lengths, np.zeros(len(texts), dtype=bool))

    def add_ngrams(self, tokens: Tokens) -> Tokens:
        """Words -> words followed by their n-grams in the vocabulary."""
        return self.ngram_table.extend(tokens, len(self.words))

    def token(self, id: int) -> str:
        """The word, or the words of the n-gram, with this id."""
        if id < len(self.words):
            return self.words[id]
        return " ".join(self.words[word] for word in self.ngram_table.words(id - len(self.words), len(self.words)))

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs, as plain values."""
        options = {"lower": self.lower} | {name: True for name in FLAGS if getattr(self, name)}
        return {"type": "word", **options, "words": self.words[2:], "ngrams": self.ngram_table.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "WordTokenizer":
        """The trained tokenizer that `to_json` described. Raises ValueError for inconsistent ids."""
        words = [PAD, UNKNOWN, *values["words"]]
        if not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
            raise ValueError("not a tokenizer (its words must be distinct strings)")
        if type(values["lower"]) is not bool:
            raise ValueError(f"not a tokenizer (lower is {values['lower']!r})")
        table, flags = values["ngrams"], {name: values.get(name) is True for name in FLAGS}
        tokenizer = cls(lower=values["lower"], **flags, ngrams=table["order"])
        tokenizer.words = words
        tokenizer.ids = {word: id for id, word in enumerate(words)}
        tokenizer.ngram_table = NgramTable.from_json(table)
        _check_ngrams(tokenizer.ngram_table, len(words))
        return tokenizer


def _check_ngrams(table: NgramTable, num_words: int) -> None:
    """Raise ValueError unless the codes of each order are sorted, and refer to known prefixes and words."""
    if len(table.codes) != table.order - 1:
        raise ValueError(f"not a tokenizer ({len(table.codes)} tables of n-grams for order {table.order})")
    num_beginnings = num_words
    for codes in table.codes:
        is_sorted = codes.ndim == 1 and bool((np.diff(codes) > 0).all())
        if not is_sorted or (len(codes) and not 0 <= codes[0] <= codes[-1] < num_beginnings * num_words):
            raise ValueError("not a tokenizer (its n-grams are not those of its words)")
        num_beginnings = len(codes)


class WordIndex:
    """The ids of a vocabulary, for all words of some texts at once: 3 times as fast as cutting out each word for a dict.

    A word of up to 15 bytes of UTF-8 is two integers: its first 8 bytes, and the others with its length. Their code is a sum, so
    that a word with the code and the second integer of another is that word. All other words are left to the dict.
    """

    WIDTH, LETTER = 15, 1
    # Of each byte: 0 white space, 1 a letter, any character beyond ASCII included, 2 a mark of punctuation.
    KINDS = bytes(
        1 if b > 127 else 0 if chr(b).isspace() else 2 if PUNCTUATION.match(chr(b)) else 1 for b in range(256)
    )

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids

    @functools.cached_property
    def _table(self) -> tuple[CodeIndex, np.ndarray, np.ndarray]:
        """The codes (V,) of the short words, their second integers and their ids."""
        encoded = [(word.encode(errors="surrogatepass"), id) for word, id in self.ids.items()]
        words, ids = zip(*((word, id) for word, id in encoded if len(word) <= self.WIDTH), strict=True)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        codes, seconds = self._codes(b"".join([*words, bytes(self.WIDTH)]), np.cumsum(lengths) - lengths, lengths)
        codes, places = np.unique(codes, return_index=True)
        return CodeIndex(codes), seconds[places], np.array(ids, dtype=np.int32)[places]

    @staticmethod
    def _codes(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Code and second integer (N,) of the words that begin there, with at least 15 bytes after the last one."""
        masks = np.array([2 ** (8 * n) - 1 for n in range(9)], dtype=np.uint64)  # of the first n bytes
        eights = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
        first = eights[starts] & masks[np.minimum(lengths, 8)]
        second = eights[starts + 8] & masks[np.clip(lengths - 8, 0, 8)] | lengths.astype(np.uint64) << np.uint64(56)
        return (first + second * FACTOR).view(np.int64), second

    def find(self, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Texts whose words spaces or marks cut apart -> (ids of their words, their number in each); no word is an unknown one."""
        data = b" ".join([b"", *texts, b" " * self.WIDTH])
        kinds = np.frombuffer(data.translate(self.KINDS), dtype=np.uint8)
        before, here = kinds[:-1], kinds[1:]
        is_border = (before & here) != self.LETTER
        starts, ends = (np.flatnonzero(is_border & (side > 0)) + 1 for side in (here, before))
        lengths = ends - starts
        codes, seconds = self._codes(data, starts, lengths)
        index, second_of, id_of = self._table
        places, is_there = index.find(codes)
        is_same = is_there & (second_of[places] == seconds)
        ids = np.where(is_same, id_of[places], UNKNOWN_ID).astype(np.int32)
        for i in np.flatnonzero((lengths > self.WIDTH) | (is_there & ~is_same)).tolist():
            ids[i] = self.ids.get(data[starts[i] : ends[i]].decode(errors="surrogatepass"), UNKNOWN_ID)
        firsts = np.searchsorted(starts, np.cumsum([1, *(len(text) + 1 for text in texts)]))
        counts = np.diff(firsts)
        return np.insert(ids, firsts[:-1][counts == 0], UNKNOWN_ID), np.maximum(counts, 1)
