"""BPE-dropout: without dropout the tokens of the library, with it others of the same text, the same for the same seed."""

import numpy as np
import pytest
from conftest import tiny_rows

from datasets.batches.bpe_dropout import BPEDropout
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer

TEXTS = [row["text"] for row in tiny_rows()] + ["Stir, and stir!  twice", "weiß \u4e2d\u6587 it's", "x"]


@pytest.fixture(scope="module")
def tokenizer() -> ByteBPETokenizer:
    found = ByteBPETokenizer(vocab_size=400)
    found.train([TEXTS])
    return found


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_dropout_they_are_the_librarys(tokenizer: ByteBPETokenizer) -> None:
    dropout = BPEDropout(tokenizer, 0.0)
    for text in TEXTS:
        ids = tokenizer.bare([text], may_be_empty=True).ids.tolist()
        assert dropout.segmented(ids, random(0)) == ids


def test_with_it_the_text_is_the_same_in_other_pieces(tokenizer: ByteBPETokenizer) -> None:
    dropout, sizes = BPEDropout(tokenizer, 0.3), []
    for text in TEXTS:
        ids = tokenizer.bare([text], may_be_empty=True).ids.tolist()
        found = [dropout.segmented(ids, random(seed)) for seed in (0, 1, 0)]
        assert [tokenizer.decode(each) for each in found] == [text] * 3
        assert found[0] == found[2]
        sizes.append([len(ids), *map(len, found[:2]), found[0] != found[1]])
    plain, first, second, is_other = np.array(sizes).T
    assert plain.sum() < first.sum() < 3 * plain.sum()
    assert is_other.mean() > 0.8
    assert first.sum() != second.sum()


def test_with_all_merges_left_out_the_pieces_are_bytes(tokenizer: ByteBPETokenizer) -> None:
    dropout = BPEDropout(tokenizer, 1.0)
    for text in TEXTS:
        ids = dropout.segmented(tokenizer.bare([text], may_be_empty=True).ids.tolist(), random(0))
        assert len(ids) == len(text.encode())


def test_a_merge_is_left_out_as_often_as_asked(tokenizer: ByteBPETokenizer) -> None:
    """A word of two letters that are merged is whole with probability 1 - p."""
    dropout = BPEDropout(tokenizer, 0.25)
    pair = next(pair for pair in dropout.ranks if all(len(part) == 1 for part in pair))
    whole = sum(len(dropout.pieces("".join(pair), random(seed))) == 1 for seed in range(4000)) / 4000
    assert whole == pytest.approx(0.75, abs=0.03)


def test_another_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bpe_dropout needs tokenizer: \{name: byte_bpe}"):
        BPEDropout(WordPieceTokenizer(vocab_size=300), 0.1)
