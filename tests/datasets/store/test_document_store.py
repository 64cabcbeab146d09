"""Documents as tokens on disk: what was written is what was read, and streaming needs no more memory for more of it."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from datasets.batches.masking import Masking, MaskShare
from datasets.batches.pretraining import PretrainingExamples, Sequences
from datasets.sources.documents import Documents
from datasets.store import document_store
from datasets.store.document_store import DocumentCorpus, DocumentStore, open_documents
from datasets.tokenizers.subword import ByteBPETokenizer, WordPieceTokenizer
from utils.errors import DataError, StorageError

TEXT = "\n\n".join("\n".join(f"the cat {i} sat on mat {j} ." for j in range(1 + i % 4)) for i in range(40))


def opened(folder: Path, text: str = TEXT, split: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> DocumentStore:
    (folder / "corpus.txt").write_text(text)
    source = Documents(train=str(folder / "corpus.txt"), format="sentences")
    return open_documents(
        DocumentCorpus(source, split, 0), WordPieceTokenizer(vocab_size=300), {}, str(folder / ".cache")
    )


def test_every_sentence_is_there_in_its_document_and_in_one_split(tmp_path: Path) -> None:
    store = opened(tmp_path)
    found: list[list[list[str]]] = []
    for tokens in store.splits.values():
        for begin, end in zip(tokens.documents[:-1], tokens.documents[1:], strict=True):
            bounds = tokens.sentences[begin : end + 1]
            found.append([[store.tokenizer.token(i) for i in tokens.ids[a:b]] for a, b in itertools.pairwise(bounds)])
    words = sorted([[" ".join(sentence).replace(" ##", "") for sentence in document] for document in found])
    assert words == sorted(document.splitlines() for document in TEXT.split("\n\n"))
    assert all(len(tokens) > 0 for tokens in store.splits.values())
    assert sum(store.report[split]["documents"] for split in store.splits) == 40


def test_the_counts_are_those_of_the_training_split(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert (
        store.token_counts.tolist()
        == np.bincount(store.splits["train"].ids, minlength=store.tokenizer.vocab_size).tolist()
    )


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = opened(tmp_path)
    monkeypatch.setattr(document_store, "CHUNK", 3)
    (tmp_path / "other").mkdir()
    parts = opened(tmp_path / "other")
    for split, tokens in whole.splits.items():
        for name in ("ids", "sentences", "documents"):
            assert getattr(tokens, name).tolist() == getattr(parts.splits[split], name).tolist()


def test_a_second_start_does_not_build_and_a_damaged_store_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tmp_path)
    write = document_store._write
    monkeypatch.setattr(document_store, "_write", None)
    second = opened(tmp_path)
    assert second.facts == first.facts
    monkeypatch.setattr(document_store, "_write", write)
    (path,) = tmp_path.glob(".cache/documents/*/train.ids")
    path.write_bytes(bytes(path.stat().st_size))
    assert opened(tmp_path).facts == first.facts
    assert "train.ids is not the file that was written" in caplog.text


def test_a_split_never_divides_a_source(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"book{i:02}.txt").write_text(" ".join(f"Word{i} is here." for _ in range(20)))
    source = Documents(train=[str(path) for path in sorted(tmp_path.glob("book*.txt"))], format="books", book_words=9)
    tokenizer = WordPieceTokenizer(vocab_size=400)
    store = open_documents(DocumentCorpus(source, (0.6, 0.2, 0.2), 1), tokenizer, {}, str(tmp_path / ".cache"))
    names = [
        {store.tokenizer.token(id) for id in tokens.ids.tolist() if tokens.ids.size} for tokens in store.splits.values()
    ]
    common = set.intersection(*names)
    assert all(len(tokens) > 3 for tokens in store.splits.values())
    own = [{token for token in found - common if token.startswith("word")} for found in names]
    assert not own[0] & own[1]
    assert not own[0] & own[2]


def test_documents_that_change_while_they_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = document_store._write

    def changed(*args: object) -> dict[str, object]:
        (tmp_path / "corpus.txt").write_text(TEXT + " more")
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(document_store, "_write", changed)
    with pytest.raises(DataError, match="the data changed while it was being read"):
        opened(tmp_path)
    assert not list(tmp_path.glob(".cache/documents/*/header.json"))


def test_a_mapped_store_that_is_cut_while_it_is_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.store.folder.MAPPED", 0)
    store = opened(tmp_path)
    assert isinstance(store.splits["train"].ids, np.memmap)
    examples = PretrainingExamples(
        store.splits["train"],
        Sequences("none", 32, 32, 0, 0.1, None),
        *[Masking(4, np.arange(5, 100), np.ones(300, dtype=bool), "token", 0.8, 0.1)] * 2,
        share=MaskShare(0.15, 0.15),
        special=(2, 3, 0),
        seed=1,
    )
    examples.collate(np.arange(3), 0)
    (path,) = tmp_path.glob(".cache/documents/*/train.ids")
    os.truncate(path, 100)
    with pytest.raises(StorageError, match="was truncated while in use"):
        examples.collate(np.arange(3), 0)


def test_a_file_that_moves_to_another_split_makes_another_store(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"the {name} sat on the mat .\nit was a {name} .\n\nthe end .\n")
    a, b, c = (str(tmp_path / f"{name}.txt") for name in "abc")
    found = []
    for paths in ({"train": [a, b], "valid": c}, {"train": a, "valid": [b, c]}, {"train": [a, b], "test": c}):
        source = Documents(format="sentences", **paths)  # type: ignore[arg-type]
        corpus = DocumentCorpus(source, (1.0, 0.0, 0.0), 0)
        store = open_documents(corpus, WordPieceTokenizer(vocab_size=300), {}, str(tmp_path / ".cache"))
        found.append(([len(store.splits[split]) for split in ("train", "valid", "test")], store.facts["data"]))
    assert [sizes for sizes, _ in found] == [[4, 2, 0], [2, 4, 0], [4, 0, 2]]
    assert len({data for _, data in found}) == 3


def test_sentences_of_bytes_keep_the_space_between_them(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("one two .\nthree .\n\nfour .\n")
    corpus = DocumentCorpus(Documents(train=str(tmp_path / "corpus.txt"), format="sentences"), (1.0, 0.0, 0.0), 0)
    store = open_documents(corpus, ByteBPETokenizer(vocab_size=300), {}, str(tmp_path / ".cache"))
    assert store.tokenizer.tokenizer.decode(store.splits["train"].ids.tolist()) == "one two . three .four ."
