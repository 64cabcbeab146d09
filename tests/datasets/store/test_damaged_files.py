"""Damaged files of every kind that we read end in our own errors: no crash, no hang, no growth, no foreign exception."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows
from corpora import opened, reader_of, tiny_corpus
from fuzz import fuzz
from refusals import CSV, JSON

from agents import checked_config
from agents.running.text_data import saved_tokenizer
from datasets.formats.readers import FORMATS, format_of
from datasets.formats.rows import Layout
from datasets.store.folder import _try_open
from datasets.store.store import TokenStore, tokenizer_json
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer
from datasets.tokenizers.word import WordTokenizer
from utils.errors import CheckpointError, ConfigError, DataError
from utils.files.sealed import sealed

pytestmark = pytest.mark.timeout(900)
TEXTS = [row["text"] for row in tiny_rows(12)]


def read_rows(path: Path) -> Callable[[bytes], None]:
    """Read a file with every row accounted for."""

    def use(data: bytes) -> None:
        path.write_bytes(data)
        reader = reader_of(["text"], label="label", on_bad_row="skip")
        used = sum(record is not None for record in reader.read(FORMATS[format_of(path)](path, Layout())))
        assert reader.num_read == used + reader.skipped.total()

    return use


@pytest.mark.parametrize(("name", "sound"), [("x.csv", CSV + b'a,"b\nc ""d""",chess\n'), ("x.jsonl", JSON)])
def test_damaged_rows(tmp_path: Path, name: str, sound: bytes) -> None:
    assert fuzz([sound, sound[:200], sound[-300:]], read_rows(tmp_path / name), DataError) > 0


def test_damaged_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("x.yaml")

    def use(data: bytes) -> None:
        path.write_bytes(data)
        checked_config(path)

    boe = TINY_CONFIG.replace("bilstm", "bag_of_embeddings").partition("  hidden_size")[0] + "tokenizer: {ngrams: 2}\n"
    assert fuzz([TINY_CONFIG.encode(), boe.encode()], use, ConfigError) > 0


def trained(tokenizer: Any) -> bytes:
    tokenizer.train([TEXTS])
    return tokenizer_json(tokenizer).encode()


def test_damaged_tokenizers(tmp_path: Path) -> None:
    words = opened(tiny_corpus(tmp_path), WordTokenizer(ngrams=3)).tokenizer
    sound = [tokenizer_json(words).encode(), trained(WordPieceTokenizer(vocab_size=261)), trained(ByteBPETokenizer())]

    def use(data: bytes) -> None:
        (tmp_path / "tokenizer.json").write_bytes(data)
        tokenizer, _ = saved_tokenizer(tmp_path)
        tokens = tokenizer.encode([*TEXTS[:2], "", "\ud800 \x00"], 5)
        assert len(tokens) == 4
        assert tokens.ids.min() >= 0
        assert tokens.ids.max() < tokenizer.vocab_size

    assert fuzz(sound, use, CheckpointError) > 0


@pytest.mark.parametrize("is_signed", [False, True], ids=["rotten", "forged"])
def test_damaged_cache_headers(tmp_path: Path, is_signed: bool) -> None:
    """Rotten ones do not fit their digest; a forged one does, and must all the same be refused or be read."""
    store = opened(tiny_corpus(tmp_path))
    folder = tmp_path / "cache" / "tokens" / store.key
    header = folder / "header.json"
    sound = header.read_bytes()

    def use(data: bytes) -> None:
        if is_signed:
            try:
                values = json.loads(data)
                data = json.dumps(sealed({k: v for k, v in values.items() if k != "digest"})).encode()
            except (ValueError, TypeError, AttributeError, RecursionError):
                return
        header.write_bytes(data)
        found = _try_open(folder, TokenStore, may_remove=False)
        assert is_signed or found is None or json.loads(data) == json.loads(sound)

    use(sound.replace(b'"int64"', b'",int64"'))  # which NumPy gives to Python's parser
    fuzz([sound], use, DataError)
    assert folder.is_dir()
