"""BPE-dropout: other pieces of each word in each epoch, as merges are left out at random (Provilkov et al. 2020, algorithm 1)."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.tokenizers.subword import SubwordTokenizer
from datasets.tokenizers.vocabulary import is_byte_level


class BPEDropout:
    """Re-segments texts, given the tokens that a byte-level BPE has made of them."""

    def __init__(self, tokenizer: SubwordTokenizer, p: float, max_length: int | None = None) -> None:
        """p: the probability with which each possible merge is left out, at each merge of a word; max_length: a text that would
        have more tokens, its first and last one included, stays as it is. Raises ValueError for another tokenizer than
        byte-level BPE."""
        values = json.loads(tokenizer.tokenizer.to_str())
        if values["model"]["type"] != "BPE" or not is_byte_level(tokenizer):
            raise ValueError("bpe_dropout needs tokenizer: {name: byte_bpe}")
        pairs = (tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in values["model"]["merges"])
        self.ranks: dict[tuple[str, ...], int] = {pair: rank for rank, pair in enumerate(pairs)}
        self.tokenizer, self.p, self.vocab = tokenizer, p, tokenizer.tokenizer.get_vocab()
        self.max_length = max_length
        self.words: Any = tokenizer.tokenizer.pre_tokenizer.pre_tokenize_str

    def segmented(self, ids: Sequence[int], random: np.random.Generator) -> list[int]:
        """Bare ids of a text -> ids of the same text."""
        text = self.tokenizer.decode(ids)
        pieces = [piece for word, _ in self.words(text) for piece in self.pieces(word, random)]
        return [self.vocab[piece] for piece in pieces]

    def pieces(self, word: str, random: np.random.Generator) -> list[str]:
        """A word, its bytes as letters -> its pieces: of the possible merges that are not left out the first is done, and so on."""
        symbols = list(word)
        while len(symbols) > 1:
            ranks = [self.ranks.get(pair) for pair in itertools.pairwise(symbols)]
            kept = random.random(len(ranks)) >= self.p
            possible = [(rank, i) for i, rank in enumerate(ranks) if rank is not None and kept[i]]
            if not possible:
                break
            _, i = min(possible)
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        return symbols
