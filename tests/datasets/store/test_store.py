"""The token store: what is stored is what the texts say, built once, and never a damaged one."""

import errno
import io
import json
import logging
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from corpora import corpus_of, opened, tiny_corpus
from filelock import FileLock
from token_cases import assert_same, trained_on

from datasets.rows.corpus import Corpus
from datasets.store import store as store_module
from datasets.store import word_pass as word_source
from datasets.store.store import TokenStore, tokenizer_json
from datasets.tokenizers import processes as parallel
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer
from datasets.tokenizers.word import UNKNOWN_ID, WordTokenizer
from utils.errors import DataError, GlassboxError, StorageError

TOKENIZERS: dict[str, Callable[[], Any]] = {
    "word": WordTokenizer,
    "word_triples": lambda: WordTokenizer(ngrams=3, min_count=2),
    "wordpiece": lambda: WordPieceTokenizer(vocab_size=400),
    "byte_bpe": lambda: ByteBPETokenizer(vocab_size=400),
}
OPTIONS: list[dict[str, Any]] = [{}, {"join_fields": True}, {"max_length": 3}, {"fields": ["text"]}, {"limit": 60}]


@pytest.fixture
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so short, and data so large in comparison, that the tiny data set is built by several workers."""
    monkeypatch.setattr(parallel, "CHUNK", 7)
    monkeypatch.setattr(word_source, "BLOCK", 11)
    monkeypatch.setattr(store_module, "SMALL", 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def folder_of(corpus: Corpus, store: TokenStore) -> Path:
    return Path(corpus.cache_folder) / "tokens" / store.key


def assert_holds(store: TokenStore, corpus: Corpus) -> None:
    """Tokens, labels and marks of every split are those of the records behind its rows."""
    for split, data in store.splits.items():
        records = list(corpus.records(split, data.rows))
        assert len(records) == len(data) > 0
        columns = zip(*(corpus.encoder_texts(record) for record in records), strict=True)
        encoded = [store.tokenizer.encode(list(texts), corpus.max_length) for texts in columns]
        for tokens, expected in zip(data.fields, encoded, strict=True):
            assert_same(tokens, expected)
        np.testing.assert_array_equal(data.lengths(), sum(tokens.lengths for tokens in encoded))
        np.testing.assert_array_equal(data.truncated, np.any([tokens.truncated for tokens in encoded], axis=0))
        assert [(store.labels[label],) for label in data.columns["label"]] == [record.labels for record in records]


@pytest.mark.usefixtures("many_chunks")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_store_holds_the_texts_of_its_rows(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    corpus = tiny_corpus(tmp_path, **options)
    store = opened(corpus, TOKENIZERS[name]())
    assert_holds(store, corpus)
    assert sum(map(len, store.splits.values())) == (corpus.limits["train"] or 120)


@pytest.mark.usefixtures("many_chunks")
@pytest.mark.parametrize("name", TOKENIZERS)
def test_one_worker_and_two_write_the_same_bytes(tmp_path: Path, name: str) -> None:
    stores = []
    for num_workers in (1, 2):
        corpus = tiny_corpus(tmp_path, num_workers=num_workers, cache_folder=str(tmp_path / f"cache{num_workers}"))
        stores.append(folder_of(corpus, opened(corpus, TOKENIZERS[name]())))
    assert stores[0] != stores[1]
    assert contents(stores[0]) == contents(stores[1])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_vocabulary_is_that_of_the_training_texts_alone(tmp_path: Path, name: str) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", tiny_rows())
    unseen = [row | {"text": "quixotic quixotic quixotic"} for row in tiny_rows(30)]
    others = {split: str(write_jsonl(tmp_path / f"{split}.jsonl", unseen)) for split in ("valid", "test")}
    store = opened(corpus_of(train, fields=["text"], **others), TOKENIZERS[name]())
    pieces = {store.tokenizer.token(id) for id in range(store.tokenizer.vocab_size)}
    assert not any("quix" in piece for piece in pieces)
    if name.startswith("word_") or name == "word":
        assert store.splits["test"].fields[0].text(0).tolist() == [UNKNOWN_ID] * 3


def test_words_and_ngrams_are_those_of_the_training_texts(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path, fields=["text"])
    store = opened(corpus, TOKENIZERS["word_triples"]())
    texts = [record.texts[0] for record in corpus.records("train", store.splits["train"].rows)]
    expected = trained_on(texts, ngrams=3, min_count=2)
    assert expected.ngram_table.size > 100
    assert tokenizer_json(store.tokenizer) == tokenizer_json(expected)


def test_a_vocabulary_of_no_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.min_count: 999 leaves no word of the training texts; lower it"):
        opened(tiny_corpus(tmp_path), WordTokenizer(min_count=999))


def test_several_labels_a_text_become_a_row_of_a_matrix(tmp_path: Path) -> None:
    sets = ["b|a", "a", "", "c|b|a"]
    rows = [row | {"label": sets[i % 4]} for i, row in enumerate(tiny_rows())]
    corpus = tiny_corpus(tmp_path, rows, multi_label=True)
    store = opened(corpus)
    assert store.labels == ["a", "b", "c"]
    for split, data in store.splits.items():
        labels = [record.labels for record in corpus.records(split, data.rows)]
        assert [tuple(np.array(store.labels)[row.astype(bool)]) for row in data.columns["label"]] == labels


def test_a_split_without_rows_is_empty(tmp_path: Path) -> None:
    store = opened(tiny_corpus(tmp_path, split=[0.9, 0.1, 0.0]))
    assert len(store.splits["test"]) == 0
    assert store.splits["test"].lengths().tolist() == []


def refuse_to_build(*_: Any) -> None:
    raise AssertionError("built again")


def test_a_second_start_does_not_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus(tmp_path)
    first = opened(corpus)
    monkeypatch.setattr(store_module, "write_arrays", refuse_to_build)
    second = opened(tiny_corpus(tmp_path))
    assert (second.key, second.labels, second.report) == (first.key, first.labels, first.report)
    assert_holds(second, corpus)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's content but neither its inode nor its time of change."""
    before = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: list[tuple[str, bool, Callable[[Path], Any]]] = [
    ("nothing", False, lambda path: None),
    ("the time of change", False, lambda path: os.utime(path, (1, 1))),
    ("a copy in its place", False, lambda path: rewritten(path, path.read_bytes())),
    ("a word", True, lambda path: path.write_bytes(path.read_bytes().replace(b"slowly", b"gently"))),
    ("the order", True, lambda path: path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[::-1]))),
    ("a line more", True, lambda path: path.open("ab").write(b"\n")),
]


def rewritten(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(("name", "is_changed", "change"), CHANGES)
def test_the_key_is_the_content_of_the_data(
    tmp_path: Path, name: str, is_changed: bool, change: Callable[[Path], Any]
) -> None:
    first = opened(tiny_corpus(tmp_path)).key
    change(tmp_path / "rows.jsonl")
    corpus = corpus_of(tmp_path / "rows.jsonl")
    second = opened(corpus)
    assert (second.key != first) == is_changed
    assert_holds(second, corpus)


def test_the_key_is_also_the_options_and_a_given_tokenizer(tmp_path: Path) -> None:
    keys = [opened(tiny_corpus(tmp_path), **options).key for options in ({}, {"lower": True}, {"lower": False})]
    trained = opened(tiny_corpus(tmp_path)).tokenizer
    keys.append(opened(tiny_corpus(tmp_path), trained=trained).key)
    assert len(set(keys)) == 4


def test_a_label_that_gets_another_name_is_another_data_set(tmp_path: Path) -> None:
    for i, row in enumerate(tiny_rows()):
        (tmp_path / "data" / row["label"]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / row["label"] / f"{i:03}.txt").write_text(row["text"])
    options = {"fields": ["text"], "cache_folder": str(tmp_path / "cache")}
    first = opened(corpus_of(tmp_path / "data", **options))
    (tmp_path / "data" / "chess").rename(tmp_path / "data" / "chess_and_go")
    second = opened(corpus_of(tmp_path / "data", **options))
    assert (first.labels[0], second.labels[0]) == ("chess", "chess_and_go")


def test_a_given_tokenizer_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    trained = opened(tiny_corpus(tmp_path / "other", tiny_rows(30)), WordTokenizer(ngrams=2)).tokenizer
    before = tokenizer_json(trained)
    corpus = tiny_corpus(tmp_path)
    store = opened(corpus, WordTokenizer(ngrams=2), trained=trained)
    assert tokenizer_json(store.tokenizer) == before
    assert_holds(store, corpus)


FILES = [
    "header.json",
    "tokenizer.json",
    "train.0.ids",
    "train.1.offsets",
    "valid.0.truncated",
    "test.labels",
    "train.rows",
]
HEADERS = [b"", b"{", b"[]", b"null", b"{}", b'{"digest": 1}', b'{"format": 2, "files": [], "digest": "0"}', b"\xff"]


def flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]


DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    *[(name, lambda data: data[:-1]) for name in FILES],
    *[(name, lambda data: b"") for name in FILES],
    *[(name, flip) for name in FILES],
    *[("header.json", lambda data, header=header: header) for header in HEADERS],  # type: ignore[misc]
    ("header.json", lambda data: data.replace(b"cooking", b"hooking")),
    ("header.json", lambda data: data.replace(b'"format": ', b'"format": 9')),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=[f"{i}-{name}" for i, (name, _) in enumerate(DAMAGE)])
def test_a_damaged_store_is_built_anew_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[bytes], bytes]
) -> None:
    corpus = tiny_corpus(tmp_path)
    folder = folder_of(corpus, opened(corpus))
    before = contents(folder)
    rewrite(folder / name, damage)
    with caplog.at_level(logging.WARNING, "glassbox"):
        assert_holds(opened(corpus), corpus)
    assert f"{folder}: is damaged" in caplog.text
    assert contents(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_store_that_lost_a_file_is_built_anew(tmp_path: Path, name: str) -> None:
    corpus = tiny_corpus(tmp_path)
    folder = folder_of(corpus, opened(corpus))
    (folder / name).unlink()
    assert_holds(opened(corpus), corpus)


def leftovers(corpus: Corpus) -> list[str]:
    return [path.name for path in (Path(corpus.cache_folder) / "tokens").iterdir() if not path.name.endswith(".lock")]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path, [*tiny_rows(), {"title": "t", "text": "", "label": None}])  # type: ignore[dict-item]
    with pytest.raises(DataError, match=r"rows.jsonl:121: no label"):
        opened(corpus)
    assert leftovers(corpus) == []


def test_data_that_changes_while_it_is_read_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus(tmp_path)
    scan = corpus.scan

    def scan_then_change(take: Any = None) -> Any:
        result = scan(take)
        rewrite(tmp_path / "rows.jsonl", lambda data: data.replace(b"slowly", b"gently"))
        return result

    monkeypatch.setattr(corpus, "scan", scan_then_change)
    with pytest.raises(DataError, match=r"rows.jsonl: the data changed while it was being read"):
        opened(corpus)
    assert leftovers(corpus) == []


def open_and_count(folder: Path) -> str:
    """In a process of its own: open the store, and write a line where that meant to build it."""
    corpus = corpus_of(folder / "rows.jsonl")
    scan = corpus.scan

    def counted_scan(take: Any = None) -> Any:
        with (folder / "builds").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return scan(take)

    corpus.scan = counted_scan  # type: ignore[method-assign]
    return str(folder_of(corpus, opened(corpus)))


@pytest.mark.parametrize("is_damaged", [False, True], ids=["none", "damaged"])
def test_several_starts_at_once_build_once(tmp_path: Path, is_damaged: bool) -> None:
    corpus = tiny_corpus(tmp_path)
    if is_damaged:
        (folder_of(corpus, opened(corpus)) / "train.rows").unlink()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        (folder,) = set(pool.map(open_and_count, [tmp_path] * 8, chunksize=1))
    assert len((tmp_path / "builds").read_text().split()) == 1
    assert_holds(TokenStore(Path(folder)), corpus)
    assert leftovers(corpus) == [Path(folder).name]


def test_only_who_holds_the_lock_removes_a_damaged_store(tmp_path: Path) -> None:
    """Another process may just have built it anew."""
    corpus = tiny_corpus(tmp_path)
    folder = folder_of(corpus, opened(corpus))
    (folder / "train.rows").unlink()
    process = multiprocessing.get_context("fork").Process(target=open_and_count, args=(tmp_path,))
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        process.start()
        time.sleep(0.5)
        assert process.is_alive()
        assert (folder / "header.json").exists()
    process.join(20)
    assert process.exitcode == 0
    assert_holds(TokenStore(folder), corpus)


def killed_while_it_builds(folder: Path) -> None:
    corpus = corpus_of(folder / "rows.jsonl")
    corpus.scan = lambda take: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment, return-value]
    opened(corpus)


def test_the_next_start_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path)
    builder = multiprocessing.get_context("fork").Process(target=killed_while_it_builds, args=(tmp_path,))
    builder.start()
    builder.join(20)
    assert builder.exitcode == -signal.SIGKILL
    assert len(leftovers(corpus)) == 1
    store = opened(corpus)
    assert_holds(store, corpus)
    assert leftovers(corpus) == [store.key]


def test_the_header_says_what_was_read(tmp_path: Path) -> None:
    rows: list[Any] = [*tiny_rows(), {"title": "", "text": "", "label": "chess"}]
    corpus = tiny_corpus(tmp_path, rows, on_bad_row="skip")
    store = opened(corpus)
    assert store.report == corpus.scan().report == json.loads(json.dumps(store.report))
    assert store.report["train"]["skipped"] == {"no text": 1}


# What cannot be read now is not damaged.

NOT_NOW = [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOMEM]


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Opening any file of this name fails so."""
    real = io.open

    def fail(path: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int) and Path(path).name == name:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(io, "open", fail)
    monkeypatch.setattr("builtins.open", fail)


@pytest.mark.parametrize("code", NOT_NOW, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["header.json", "tokenizer.json", "train.0.ids", "test.labels"])
def test_a_store_that_cannot_be_read_now_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    corpus = tiny_corpus(tmp_path)
    folder = folder_of(corpus, opened(corpus))
    before = contents(folder)
    with monkeypatch.context() as patch:
        refuse_to_open(patch, name, code)
        with pytest.raises(StorageError, match=f"{name}: cannot be read now: {os.strerror(code)}$"):
            opened(corpus)
    assert contents(folder) == before
    assert_holds(opened(corpus), corpus)


def test_too_few_open_files_cost_no_store(tmp_path: Path) -> None:
    """ulimit -n: whichever file comes first beyond the limit."""
    corpus = tiny_corpus(tmp_path)
    folder = folder_of(corpus, opened(corpus))
    before, refused = contents(folder), 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = min(set(range(1000)) - {int(name) for name in os.listdir("/proc/self/fd")})  # noqa: PTH208
    try:
        for more in range(3):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
            try:
                opened(corpus)
            except GlassboxError as error:
                refused += 1
                assert "Too many open files" in str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused > 0
    assert contents(folder) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOLCK])
def test_a_lock_that_cannot_be_made_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The disk is full, or another user has left the file."""
    corpus, real = tiny_corpus(tmp_path), os.open

    def fail(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith(".lock"):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match=rf"\.lock: cannot be locked: {os.strerror(code)}$"):
        opened(corpus)


@pytest.mark.parametrize("size", [0, 4096])
def test_a_mapped_file_that_is_cut_is_said_and_kills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("datasets.store.folder.MAPPED", 0)
    rows = [row | {"text": " ".join([row["text"]] * 40)} for row in tiny_rows()]
    corpus = tiny_corpus(tmp_path, rows)
    store = opened(corpus)
    path = folder_of(corpus, store) / "train.1.ids"
    assert path.stat().st_size > 4096
    os.truncate(path, size)
    with pytest.raises(
        StorageError, match=r"train\.1\.ids: was truncated while in use; run the same command to rebuild it"
    ):
        store.splits["train"].fields[1].pad(np.arange(len(store.splits["train"])))
    assert_holds(opened(corpus), corpus)


def test_a_small_file_that_is_cut_in_training_changes_nothing(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path)
    store = opened(corpus)
    for path in folder_of(corpus, store).iterdir():
        os.truncate(path, 0)
    assert_holds(store, corpus)


@pytest.mark.parametrize(
    "tokenizer", [None, WordPieceTokenizer(vocab_size=400, special_tokens=True)], ids=["word", "wordpiece"]
)
def test_phrases_of_training_sentences_are_said(tmp_path: Path, tokenizer: Any) -> None:
    words = np.random.default_rng(0).choice(list("abcdefghijklmnopqrstuvwxyz"), (300, 24))
    rows = [{"text": " ".join(row[i : i + 12]), "label": "xy"[i % 2]} for row in words for i in (0, 3, 6)]
    lines = opened(tiny_corpus(tmp_path, rows, fields=["text"]), tokenizer).report["warnings"]
    said = [line for line in lines if "appear almost whole in a text of train" in line]
    assert [line.partition(" of ")[2][:17] for line in said] == []  # nine of twelve words: not nearly all
    rows = [{"text": " ".join(row[i : i + 18 - i]), "label": "xy"[i % 2]} for row in words for i in (0, 1, 2)]
    lines = opened(tiny_corpus(tmp_path, rows, fields=["text"]), tokenizer, number=2).report["warnings"]
    assert sum("appear almost whole in a text of train" in line for line in lines) == 2
