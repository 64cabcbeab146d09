"""The hash of the code that makes tokens: every file that a data set or a tokenizer is made of counts, and no other."""

import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from corpora import corpus_over, opened, tiny_corpus

from datasets.rows.corpus import Corpus
from datasets.sources.files import Files
from datasets.store import code_hash as module
from datasets.store.code_hash import MAKER, code_hash
from datasets.store.store import TokenStore
from datasets.tokenizers.word import WordTokenizer

FILES = {
    "mine.py": "from shouting import shout\nimport talk as t\nfrom deep import (\n    whisper,\n)\nfrom base import Base\n"
    "class Mine(Base):\n    word = 'one'\n    def later(self):\n        import lazy\n",
    "base.py": "class Base:\n    pass\n",
    "shouting.py": "import json, talk\nfrom .beneath import low\nshout = str.upper\n",
    "beneath.py": "low = 1\n",
    "talk.py": "",
    "lazy.py": "",
    "deep/__init__.py": "",
    "deep/whisper.py": "from ..farther import far\n",
    "farther.py": "far = 1\n",
    "unrelated.py": "",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """An object of a class in a file of the user's, which imports others in all ways there are; nothing is run."""
    for name, source in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    loaded = types.ModuleType("mine")
    loaded.__file__ = str(tmp_path / "mine.py")
    monkeypatch.setitem(sys.modules, "mine", loaded)
    return type("Mine", (), {"__module__": "mine"})()


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_any_file_that_is_imported_counts(tmp_path: Path, mine: object, name: str) -> None:
    before = code_hash([mine])
    assert code_hash([mine]) == before
    (tmp_path / name).write_text(FILES[name] + "changed = True\n")
    is_used = name not in ("unrelated.py", "deep/__init__.py")
    assert (code_hash([mine]) != before) == is_used


def test_code_that_makes_no_tokens_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Files(train="x.csv"), WordTokenizer()]
    seen: list[str] = []
    real = module._imported
    monkeypatch.setattr(module, "_imported", lambda path, *rest: (seen.append(path), real(path, *rest))[1])
    code_hash(parts)
    root = Path(MAKER).parents[2]
    names = {str(Path(path).relative_to(root)) for path in seen}
    used = ("sources/files", "formats/readers", "rows/records", "rows/split", "tokenizers/word", "tokenizers/ngrams")
    assert {f"datasets/{name}.py" for name in used} <= names
    assert not {name for name in names if name.startswith(("agents", "graphs", "commands"))}
    assert not names & {
        "datasets/__init__.py",
        "datasets/sources/mrpc.py",
        "datasets/store/store.py",
        "utils/machine/progress_bar.py",
    }


def test_it_takes_a_few_milliseconds() -> None:
    parts, started = [Files(train="x.csv"), WordTokenizer()], time.process_time()
    for _ in range(10):
        code_hash(parts)
    assert (time.process_time() - started) / 10 < 0.02  # 3 ms on a quiet machine


# The store.


SOURCE = """\
from datasets.sources.files import Files

class Mine(Files):
    def rows(self, split):
        for row in super().rows(split):
            yield row._replace(values=row.values | {"text": PREFIX + row.values["text"]})
"""


def test_an_edited_data_set_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the README invites: a new file, and an entry in the table; and then a change of its code."""
    path = write_jsonl(tmp_path / "rows.jsonl", tiny_rows())
    stores = []
    for prefix in ("", "new "):
        (tmp_path / "my_set.py").write_text(SOURCE.replace("PREFIX", repr(prefix)))
        loaded = types.ModuleType("my_set")
        loaded.__file__ = str(tmp_path / "my_set.py")
        monkeypatch.setitem(sys.modules, "my_set", loaded)
        exec(compile((tmp_path / "my_set.py").read_text(), "my_set.py", "exec"), loaded.__dict__)
        corpus = corpus_over(loaded.Mine(train=str(path)), num_workers=1, cache_folder=str(tmp_path / "cache"))
        stores.append(opened(corpus))
    lengths = [sum(int(data.lengths().sum()) for data in store.splits.values()) for store in stores]
    assert lengths[1] == lengths[0] + 120
    assert stores[1].facts["data"] == stores[0].facts["data"], "checkpoints of other code stay comparable"
    assert stores[1].facts["tokens"] != stores[0].facts["tokens"]


READING = """\
from datasets.rows.targets import LabelTarget

class Mine(LabelTarget):
    def read(self, value):
        return super().read(value + SUFFIX)
"""


def test_an_edited_target_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of an agent of one's own, which stands outside the data sets."""
    path = write_jsonl(tmp_path / "rows.jsonl", tiny_rows())
    labels = []
    for suffix in ("", "!"):
        source = READING.replace("SUFFIX", repr(suffix))
        (tmp_path / "my_target.py").write_text(source)
        loaded = types.ModuleType("my_target")
        loaded.__file__ = str(tmp_path / "my_target.py")
        monkeypatch.setitem(sys.modules, "my_target", loaded)
        exec(compile(source, "my_target.py", "exec"), loaded.__dict__)
        corpus = Corpus(Files(train=str(path)), loaded.Mine(), num_workers=1, cache_folder=str(tmp_path / "cache"))
        labels.append(opened(corpus).labels)
    assert labels[1] == [f"{label}!" for label in labels[0]]


def test_equal_tokens_of_other_code_are_the_same_to_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny_corpus(tmp_path)
    first = opened(corpus)
    monkeypatch.setattr("datasets.store.store.code_hash", lambda parts: "other code")
    second = opened(corpus)
    assert (second.key != first.key, second.facts) == (True, first.facts)


def test_a_start_says_that_its_tokens_are_of_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "glassbox")
    corpus = tiny_corpus(tmp_path)
    assert (opened(corpus), "from the cache" in caplog.text)[1] is False
    opened(corpus)
    assert f"tokens of {time.strftime('%Y-%m-%d')}" in caplog.text
    assert caplog.text.count("from the cache") == 1


def test_ids_that_are_mapped_are_those_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus(tmp_path, tiny_rows())
    read = opened(corpus)
    monkeypatch.setattr("datasets.store.folder.MAPPED", 0)
    mapped: TokenStore = opened(corpus)
    for split in ("train", "valid", "test"):
        for one, other in zip(read.splits[split].fields, mapped.splits[split].fields, strict=True):
            assert (isinstance(one.ids, np.memmap), isinstance(other.ids, np.memmap)) == (False, True)
            np.testing.assert_array_equal(one.ids, other.ids)
