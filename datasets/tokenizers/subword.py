"""WordPiece and byte-level BPE, trained and run by the tokenizers library."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from datasets.tokenizers.long_texts import fit, fit_pairs
from datasets.tokenizers.special_tokens import SPECIAL, SpecialTokens, around_texts, unknown_id
from datasets.tokenizers.tokens import Tokens
from utils.machine.interruptible import interruptible


class SubwordTokenizer:
    """Base of WordPiece and byte-level BPE: a tokenizer of the tokenizers library, in its own JSON format.

    vocab_size: maximum vocabulary size, special tokens included
    min_count: minimum frequency of a pair of subwords to be merged
    special_tokens: put [CLS] and [SEP] around a text, as BERT expects
    nfc: normalise the text to Unicode NFC
    """

    nfc = False  # a published tokenizer has a normaliser of its own

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.use(tokenizer)

    def use(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Use this tokenizer of the library from now on."""
        tokenizer.encode_special_tokens = True  # a "[PAD]" in a text is five characters, not padding
        tokenizer.no_truncation()  # a published tokenizer may have both: here data.max_length decides on truncation,
        tokenizer.no_padding()  # and batches are padded later
        self.tokenizer = tokenizer
        self.special = SpecialTokens.of(tokenizer)
        self.unknown_id = unknown_id(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to vocab_size - 1."""
        return int(self.tokenizer.get_vocab_size())

    def encode(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        max_length: int | None = None,
        *,
        long_texts: str = "head",
        stride: int = 0,
    ) -> Tokens:
        """Texts or pairs -> ids with special tokens; a text that would be empty is one unknown token.

        Special tokens count in max_length, and the longer text of a pair is truncated first: see long_texts.py.
        """
        if len(texts) and not isinstance(texts[0], str):
            first, second = (self.bare(list(side), may_be_empty=True) for side in zip(*texts, strict=True))
            return fit_pairs(first, second, max_length, self.special.pair)
        tokens = self.bare(list(texts), may_be_empty=any(self.special.single))  # type: ignore[arg-type]
        return fit(tokens, max_length, long_texts, stride, self.special.single)

    def bare(self, texts: list[str], *, may_be_empty: bool) -> Tokens:
        """Ids of untruncated texts, without special tokens."""
        texts = self._composed(texts)
        try:
            encodings = _encodings(self.tokenizer, texts)
        except (TypeError, UnicodeError):  # half of a surrogate pair, which the library rejects
            encodings = _encodings(self.tokenizer, [text.encode("utf-8", "replace").decode() for text in texts])
        nothing = [] if may_be_empty else [self.unknown_id]
        encoded = [encoding.ids or nothing for encoding in encodings]
        flat = np.array([id for ids in encoded for id in ids], dtype=np.int32)
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        return Tokens.from_lengths(flat, lengths, np.zeros(len(encoded), dtype=bool))

    def _composed(self, texts: list[str]) -> list[str]:
        """Texts in NFC if `nfc` is set; the library's own normaliser would take half the time of its BPE."""
        return [unicodedata.normalize("NFC", text) for text in texts] if self.nfc else texts

    def token(self, id: int) -> str:
        """The subword with this id."""
        return str(self.tokenizer.id_to_token(id))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out; of byte-level BPE what was encoded, but for NFC and lower case."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs: the library's own format."""
        nfc = {"nfc": True} if self.nfc else {}
        return {"type": "subword", **nfc, "tokenizer": json.loads(self.tokenizer.to_str())}

    def published(self) -> str:
        """The library's own format, including the NFC normaliser."""
        tokenizer = tokenizers.Tokenizer.from_str(self.tokenizer.to_str())
        if self.nfc:
            own = [tokenizer.normalizer] if tokenizer.normalizer else []
            tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *own])
        return str(tokenizer.to_str())

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SubwordTokenizer":
        """The trained tokenizer that `to_json` described. Raises ValueError for any other file."""
        try:
            bare = values["tokenizer"] | {"padding": None, "truncation": None}  # padding to 10^9 aborts the process
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(bare))
            _encodings(tokenizer, ["a b", "", "\u4dbf \U0001f9ff"])  # some files fail only here
            found = SubwordTokenizer(tokenizer)
        except BaseException as error:  # the library panics on some files, and its PanicException is not an Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise ValueError(f"not a tokenizer ({error})") from None
        found.nfc = values.get("nfc") is True
        _check_ids(tokenizer)
        _check_special(found)
        return found


class WordPieceTokenizer(SubwordTokenizer):
    """BERT's WordPiece: greedy longest match, ## inside words (Wu et al. 2016; Devlin et al. 2019).

    lower: lowercase the text and strip accents
    """

    def __init__(
        self,
        *,
        lower: bool = True,
        nfc: bool = True,
        vocab_size: int = 16000,
        min_count: int = 2,
        special_tokens: bool = False,
    ) -> None:
        _check_size(vocab_size)
        self.lower, self.nfc, self.vocab_limit, self.min_count = lower, nfc, vocab_size, min_count
        self.has_special = special_tokens
        super().__init__(self._of({token: id for id, token in enumerate(SPECIAL)}))

    def train(self, chunks: Iterable[list[str]]) -> None:
        """Learn the vocabulary from chunks of training texts.

        The library numbers ##a, ##b, ... in hash-table order and breaks ties by these numbers, so that two trainings give different
        vocabularies (huggingface/tokenizers#1794). Hence one pass to find them, and a second one that gets them in sorted order,
        as special tokens; in the trained tokenizer they are ordinary ones.
        """
        if isinstance(chunks, Iterator):
            raise TypeError("the chunks are read twice: pass a list, or an iterable that starts over each time")
        letters = self._learnt(chunks, SPECIAL, vocab_size=0)
        inside = sorted(letter for letter in letters if letter.startswith("##"))
        self.use(self._of(self._learnt(chunks, [*SPECIAL, *inside], vocab_size=self.vocab_limit)))

    def _learnt(self, chunks: Iterable[list[str]], special: list[str], vocab_size: int) -> dict[str, int]:
        tokenizer = self._of({})
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=self.min_count, special_tokens=special, show_progress=False
        )
        interruptible(lambda: tokenizer.train_from_iterator(map(self._composed, chunks), trainer))
        return dict(tokenizer.get_vocab())

    def _of(self, vocab: dict[str, int]) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lower)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(SPECIAL)
        if self.has_special:
            tokenizer.post_processor = around_texts()
        return tokenizer


class ByteBPETokenizer(SubwordTokenizer):
    """GPT-2's byte-level BPE: no text is unknown (Sennrich et al. 2016; Radford et al. 2019).

    lower: lowercase the text
    """

    def __init__(
        self,
        *,
        lower: bool = False,
        nfc: bool = True,
        vocab_size: int = 16000,
        min_count: int = 2,
        special_tokens: bool = False,
    ) -> None:
        _check_size(vocab_size)
        vocab = {token: id for id, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab, []))  # single bytes, until it is trained
        if lower:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        if special_tokens:
            tokenizer.post_processor = around_texts()
        super().__init__(tokenizer)
        self.nfc, self.vocab_limit, self.min_count = nfc, vocab_size, min_count

    def train(self, chunks: Iterable[list[str]]) -> None:
        """Learn the vocabulary from chunks of training texts."""
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_limit,
            min_frequency=self.min_count,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        interruptible(lambda: self.tokenizer.train_from_iterator(map(self._composed, chunks), trainer))


def _encodings(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[tokenizers.Encoding]:
    """Encode texts with the library; interruptible by a signal, as a published tokenizer's pattern may never return."""
    return list(interruptible(lambda: tokenizer.encode_batch_fast(texts, add_special_tokens=False)))


def _check_ids(tokenizer: tokenizers.Tokenizer) -> None:
    """Raise ValueError unless the ids are 0 to vocab_size - 1, and the unknown token has one."""
    vocab = tokenizer.get_vocab()
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError("not a tokenizer (its ids have gaps or duplicates)")
    unknown = getattr(tokenizer.model, "unk_token", None)
    is_missing = unknown is not None and unknown not in tokenizer.get_vocab(with_added_tokens=False)
    if is_missing or not 0 <= unknown_id(tokenizer) < len(vocab):
        raise ValueError("a tokenizer without a token for unknown words, such as [UNK]")


def _check_special(tokenizer: SubwordTokenizer) -> None:
    """Raise ValueError if the text itself could be tokenised as a special token or as padding."""
    if max(tokenizer.special.ids, default=0) >= tokenizer.vocab_size:
        raise ValueError("not a tokenizer (its special tokens have ids that it does not have)")
    vocab = tokenizer.tokenizer.get_vocab()
    ids = {*tokenizer.special.ids, *(vocab[name] for name in ("[PAD]", "<pad>") if name in vocab)} - {
        tokenizer.unknown_id
    }
    for id in sorted(ids):
        name = tokenizer.token(id)
        bare = tokenizer.bare([name, f"a {name} b"], may_be_empty=True)
        if ids & set(bare.ids.tolist()):
            raise ValueError(
                f"a tokenizer that reads {name!r} in a text as its special token, as Unigram ones do; use a model with WordPiece "
                "or byte-level BPE"
            )


def _check_size(vocab_size: int) -> None:
    if vocab_size < len(SPECIAL) + 256:
        raise ValueError(
            f"vocab_size must be at least {len(SPECIAL) + 256} (special tokens and single bytes), got {vocab_size}"
        )
