"""What pre-training has to know of a subword vocabulary: its special tokens, which tokens begin words, how many bytes each is."""

from typing import Any, NamedTuple

import numpy as np

from datasets.tokenizers.subword import SubwordTokenizer

NAMES = {"[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>", "[PAD]": "<pad>"}  # BERT's and RoBERTa's
CHUNK = 2**20  # ids at a time: there may be many millions
SPACE = "\u0120"  # byte-level BPE's sign for a space


class Vocabulary(NamedTuple):
    """Facts of V tokens. special: the ids of [CLS], [SEP] and [PAD]; plain_ids: those of all tokens that are none; starts_word and
    num_bytes: (V,)."""

    mask_id: int
    special: tuple[int, int, int]
    plain_ids: np.ndarray
    starts_word: np.ndarray
    num_bytes: np.ndarray

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """Of a SubwordTokenizer. Raises ValueError for any other, and where it has no [MASK], [CLS], [SEP] or [PAD]."""
        is_subword = isinstance(tokenizer, SubwordTokenizer)
        if not is_subword:
            raise ValueError("its vocabulary is of whole words; pre-training needs one of subwords, with [MASK]")
        library = tokenizer.tokenizer
        found = {}
        for name, other in NAMES.items():
            ids = [id for id in map(library.token_to_id, (name, other)) if id is not None]
            if not ids:
                raise ValueError(f"its vocabulary has no {name}, which pre-training needs")
            found[name] = ids[0]
        added = {*found.values(), tokenizer.unknown_id, *library.get_added_tokens_decoder()}
        tokens = [tokenizer.token(id) for id in range(tokenizer.vocab_size)]
        is_bytes = is_byte_level(tokenizer)
        pieces = [piece.removeprefix("##") for piece in tokens]
        num_bytes = [len(piece) if is_bytes else len(piece.encode()) for piece in pieces]
        begins = [token.startswith(SPACE) if is_bytes else not token.startswith("##") for token in tokens]
        return cls(
            found["[MASK]"],
            (found["[CLS]"], found["[SEP]"], found["[PAD]"]),
            np.array([id for id in range(len(tokens)) if id not in added], dtype=np.int64),
            np.array(begins),
            np.array(num_bytes, dtype=np.int64),
        )

    def plain_share(self, ids: np.ndarray) -> float:
        """The fraction of ids (N,), N > 0, that are plain tokens."""
        is_plain = np.zeros(len(self.starts_word), dtype=bool)
        is_plain[self.plain_ids] = True
        return sum(int(is_plain[ids[i : i + CHUNK]].sum()) for i in range(0, len(ids), CHUNK)) / len(ids)


def is_byte_level(tokenizer: Any) -> bool:
    """Whether its tokens are of bytes, the space before a word among them, as GPT-2's and RoBERTa's."""
    return "ByteLevel" in str(tokenizer.tokenizer.decoder)
