"""Text file -> records -> tokens -> token store -> batches. The tables of data sets and tokenizers.

A new data set is one file with a class that has `splits`, `files(split)` and `rows(split)`, and its entry here.
"""

from typing import Any

from datasets.bbc_news import BBCNews
from datasets.files import Files
from datasets.mrpc import MRPC
from datasets.pretrained_tokenizer import PretrainedTokenizer
from datasets.subword_tokenizer import ByteBPETokenizer, SubwordTokenizer, WordPieceTokenizer
from datasets.word_tokenizer import WordTokenizer

DATASETS: dict[str, type] = {
    "bbc_news": BBCNews,
    "files": Files,
    "mrpc": MRPC,
}

TOKENIZERS: dict[str, type] = {
    "word": WordTokenizer,
    "wordpiece": WordPieceTokenizer,
    "byte_bpe": ByteBPETokenizer,
    "pretrained": PretrainedTokenizer,
}

# The types in a saved tokenizer.json; both subword tokenizers are read by the class that they share.
SAVED_TOKENIZERS: dict[str, Any] = {
    "word": WordTokenizer,
    "subword": SubwordTokenizer,
}
