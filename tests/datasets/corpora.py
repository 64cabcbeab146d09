"""Small data sets for the tests of this folder, written and opened in a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import tiny_rows, write_jsonl
from hypothesis import settings

from datasets.corpus import Corpus
from datasets.files import Files
from datasets.store import TokenStore, open_store
from datasets.word_tokenizer import WordTokenizer

ANY = settings()  # the profile of tests/conftest.py: quick, or full


def tiny_corpus(folder: Path, rows: Sequence[Mapping[str, Any]] | None = None, **options: Any) -> Corpus:
    """A corpus of one file of rows, of title and text unless the options say otherwise."""
    path = write_jsonl(folder / "rows.jsonl", list(rows if rows is not None else tiny_rows()))  # type: ignore[arg-type]
    return corpus_of(path, **options)


def corpus_of(train: Path, **options: Any) -> Corpus:
    """A corpus of files, with its cache beside them."""
    of_files = {
        key: options.pop(key) for key in ("valid", "test", "format", "encoding", "quotes", "columns") if key in options
    }
    defaults = {"fields": ["title", "text"], "num_workers": 1, "cache_folder": str(train.parent / "cache")}
    return Corpus(Files(train=str(train), **of_files), **(defaults | options))


def opened(corpus: Corpus, tokenizer: Any = None, trained: Any = None, **options: Any) -> TokenStore:
    """The corpus' token store; options are what a config would say of it."""
    return open_store(corpus, tokenizer or WordTokenizer(), options, trained)
