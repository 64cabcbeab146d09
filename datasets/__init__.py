"""Text file -> records -> tokens -> token store -> batches; registries of data sets and tokenizers.

To add a data set, write one file with a class that has `splits`, `files(split)` and `rows(split)`, and register it here.
"""

from typing import Any

from datasets.sources.bbc_news import BBCNews
from datasets.sources.files import Files
from datasets.sources.mrpc import MRPC
from datasets.sources.parallel import ParallelFiles
from datasets.tokenizers.pair import TokenizerPair
from datasets.tokenizers.pretrained import PretrainedTokenizer
from datasets.tokenizers.saved import SAVED_TOKENIZERS, SavedTokenizer
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer
from datasets.tokenizers.word import WordTokenizer

DATASETS: dict[str, type] = {
    "bbc_news": BBCNews,
    "files": Files,
    "mrpc": MRPC,
}

# Of text pairs, a source and a target each.
PAIR_DATASETS: dict[str, type] = {
    "parallel": ParallelFiles,
    "files": Files,
}

TOKENIZERS: dict[str, type] = {
    "word": WordTokenizer,
    "wordpiece": WordPieceTokenizer,
    "byte_bpe": ByteBPETokenizer,
    "pretrained": PretrainedTokenizer,
    "saved": SavedTokenizer,
}

ALL_SAVED: dict[Any, Any] = SAVED_TOKENIZERS | {"pair": TokenizerPair}  # and the two of text pairs in one file
