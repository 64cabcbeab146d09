"""Tokenizer of a published model, read from its folder in any of Hugging Face's formats."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from datasets.tokenizers.processes import try_apart
from datasets.tokenizers.special_tokens import SpecialTokens
from datasets.tokenizers.subword import SubwordTokenizer
from utils.errors import DataError, reason_of, unreadable
from utils.files import strict_json
from utils.files.storage import read_regular

SECONDS = 30.0  # limit on the time of a published tokenizer for a few short texts


class PretrainedTokenizer:
    """The tokenizer that comes with the weights of `init_from`."""

    special: SpecialTokens | None = None  # unknown until the weights are loaded

    def train(self, chunks: Iterable[list[str]]) -> None:
        """Raise ValueError: it cannot be trained."""
        raise ValueError(
            "tokenizer.name: pretrained is not trained; it comes with init_from, a published model's folder"
        )


def read_pretrained_tokenizer(folder: Path) -> SubwordTokenizer:
    """The tokenizer of a model's folder: tokenizer.json, or BERT's vocab.txt, or RoBERTa's vocab.json and merges.txt.

    Its casing and special tokens are kept; its truncation and padding are not: `data.max_length` decides here. Raises
    DataError for a folder without these files, or with damaged ones.
    """
    for names, read in FORMS.items():
        if all((folder / name).exists() for name in names):
            try:
                return _tried({"tokenizer": strict_json.parse(read(folder))})
            except OSError as error:
                raise DataError(unreadable(error.filename, error)) from None
            except Exception as error:  # the library raises bare Exceptions
                reason = reason_of(error)
                raise DataError(f"{folder / names[0]}: cannot be read: {reason}") from None
    known = ", or ".join(" and ".join(names) for names in FORMS)
    raise DataError(f"{folder}: holds no tokenizer ({known}); is it the folder of a published model?")


def _tried(values: dict[str, Any]) -> SubwordTokenizer:
    """The tokenizer, after a trial in another process: an untrusted one may abort, or never return."""
    try_apart(lambda: _try_texts(SubwordTokenizer.from_json(values)), SECONDS)
    return SubwordTokenizer.from_json(values)


def _try_texts(tokenizer: SubwordTokenizer) -> None:
    """Raise ValueError for a tokenizer that makes far too many tokens; bad patterns never return on such texts."""
    for text in [
        *(character * 300 + "!" for character in "aA1 -.\n\xe9\u4e2d"),
        "The 3 quick-brown foxes, isn't it? " * 20,
    ]:
        num_tokens = len(tokenizer.encode([text]).ids)
        if num_tokens > 100 * len(text):
            raise ValueError(f"it makes {num_tokens:,} tokens from a text of {len(text)} characters")


def _read_vocab(folder: Path) -> str:
    """BERT's: one piece per line, whose number is its id (Devlin et al. 2019); tokenizer_config.json sets the normalisation."""
    lines = read_regular(folder / "vocab.txt").decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
    vocab, options = {piece: id for id, piece in enumerate(lines)}, _options(folder)
    names = {kind: _named(options, kind, f"[{kind.upper()}]") for kind in ("unk", "pad", "cls", "sep", "mask")}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=names["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=options.get("do_lower_case", True),
        strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = {name: _id(vocab, name) for name in names.values()}
    tokenizer.add_special_tokens(list(ids))
    sep, cls = names["sep"], names["cls"]
    tokenizer.post_processor = processors.BertProcessing((sep, ids[sep]), (cls, ids[cls]))
    return str(tokenizer.to_str())


def _read_merges(folder: Path) -> str:
    """RoBERTa's: the byte-level BPE of GPT-2, with a text between <s> and </s> (Liu et al. 2019)."""
    vocab, options = strict_json.parse(read_regular(folder / "vocab.json")), _options(folder)
    lines = read_regular(folder / "merges.txt").decode().split("\n")
    pairs = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    merges = [(first, second) for first, second in pairs]
    has_prefix = bool(options.get("add_prefix_space", False))
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=has_prefix)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    names = {kind: _named(options, kind, name) for kind, name in names.items()}
    ids = {name: _id(vocab, name) for name in names.values()}
    tokenizer.add_special_tokens(list(ids))
    sep, cls = names["sep"], names["cls"]
    tokenizer.post_processor = processors.RobertaProcessing(
        (sep, ids[sep]), (cls, ids[cls]), trim_offsets=True, add_prefix_space=has_prefix
    )
    return str(tokenizer.to_str())


FORMS: dict[tuple[str, ...], Callable[[Path], str]] = {
    ("tokenizer.json",): lambda folder: read_regular(folder / "tokenizer.json").decode(),
    ("vocab.json", "merges.txt"): _read_merges,
    ("vocab.txt",): _read_vocab,
}


def _options(folder: Path) -> dict[str, Any]:
    """The values of tokenizer_config.json, if there is one."""
    path = folder / "tokenizer_config.json"
    options = strict_json.parse(read_regular(path)) if path.exists() else {}
    return dict(options)


def _named(options: dict[str, Any], kind: str, default: str) -> str:
    """The text of a special token, which the library writes as a string or as an object with `content`."""
    value = options.get(f"{kind}_token") or default
    return str(value["content"] if isinstance(value, dict) else value)


def _id(vocab: dict[str, int], name: str) -> int:
    if name not in vocab:
        raise ValueError(f"the vocabulary has no {name}")
    return vocab[name]
