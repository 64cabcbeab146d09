"""Small data sets for the tests of this folder, written and opened in a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import tiny_rows, write_jsonl
from hypothesis import settings

from datasets.rows.corpus import Corpus
from datasets.rows.records import RecordReader
from datasets.rows.targets import LabelTarget
from datasets.sources.files import Files
from datasets.store.store import TokenStore, open_store
from datasets.tokenizers.word import WordTokenizer
from utils.config.schema import options_of

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
    return corpus_over(Files(train=str(train), **of_files), **(defaults | options))


def opened(corpus: Corpus, tokenizer: Any = None, trained: Any = None, **options: Any) -> TokenStore:
    """The corpus' token store; options are what a config would say of it."""
    return open_store(corpus, tokenizer or WordTokenizer(), options, trained)


LABEL_OPTIONS = options_of(LabelTarget)


def corpus_over(source: Any, **options: Any) -> Corpus:
    """A corpus of labelled rows, whose options are those of `data` in a classification."""
    own = {name: value for name, value in options.items() if name not in LABEL_OPTIONS}
    return Corpus(source, LabelTarget(**{k: v for k, v in options.items() if k in LABEL_OPTIONS}), **own)


def reader_of(fields: list[str], *, label: str | None = "label", **options: Any) -> RecordReader:
    """A reader of labelled rows, or with `label=None` of rows to predict."""
    own = {name: value for name, value in options.items() if name not in LABEL_OPTIONS}
    labels = {k: v for k, v in options.items() if k in LABEL_OPTIONS and v is not None}
    labels |= {"multi_label": True} if "label_separator" in labels else {}
    return RecordReader(fields, None if label is None else LabelTarget(label=label, **labels), **own)
