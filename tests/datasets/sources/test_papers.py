"""The papers split: a function of the title alone, repeated titles once, and its published sizes."""

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED_DATA
from corpora import ANY, corpus_of
from hypothesis import given
from hypothesis import strategies as st

from datasets.sources.papers import split_of, write_splits
from utils.errors import DataError

PAPERS = SHARED_DATA / "papers"


def paper(title: str, abstract: str | None = "An abstract.") -> dict[str, Any]:
    return {"title": title, "abstract": abstract, "track": "main"}


def write_papers(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, records in files.items():
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    return folder


def written(out: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each split's file."""
    splits = ("train", "valid", "test")
    lines = {split: (out / f"{split}.jsonl").read_text().split("\n") for split in splits}
    return {split: [json.loads(line) for line in lines[split] if line] for split in splits}


def test_records_are_dropped_with_the_reason_and_the_first_of_a_title_is_kept(tmp_path: Path) -> None:
    acl = [paper("One  Title", "first"), paper("Two", None), paper("Three", " "), paper("Four\u2028")]
    source = write_papers(tmp_path / "in", acl2021=acl, uai2020=[paper("one title", "again"), paper("Five")])
    (source / "notes.json.gz").write_bytes(b"no conference")
    counts = write_splits(source, tmp_path / "out")
    assert (counts["read"], counts["used"], counts["skipped"]) == (6, 3, 3)
    assert counts["reasons"] == "2 without abstract, 1 repeated title"
    rows = [row for split in written(tmp_path / "out").values() for row in split]
    assert sorted((row["title"], row["abstract"], row["venue"]) for row in rows) == [
        ("Five", "An abstract.", "ML"),
        ("Four\u2028", "An abstract.", "ACL"),
        ("One  Title", "first", "ACL"),
    ]


@pytest.mark.parametrize("names", [["acl2021", "acl2022"], ["acl2022", "acl2021"]])
def test_files_are_read_in_the_order_of_their_names(tmp_path: Path, names: list[str]) -> None:
    source = write_papers(tmp_path / "in", **{name: [paper("One Title", f"of {name}")] for name in names})
    write_splits(source, tmp_path / "out")
    (row,) = (row for split in written(tmp_path / "out").values() for row in split)
    assert row["abstract"] == "of acl2021"


def test_naacl_is_not_acl_by_accident_nor_a_file_of_another_name(tmp_path: Path) -> None:
    source = write_papers(tmp_path / "in", aaai2021=[paper("a")], naacl2021=[paper("n")], aclx2021=[paper("x")])
    assert write_splits(source, tmp_path / "out")["read"] == 2


@ANY
@given(title=st.text(max_size=30))
def test_the_split_is_the_hash_of_the_title(title: str) -> None:
    number = int.from_bytes(hashlib.sha256(title.encode()).digest()[:4], "big") % 10
    assert split_of(title) == ("test" if number == 0 else "valid" if number == 1 else "train")


BAD: list[tuple[str, bytes, str]] = [
    ("acl2021.json.gz", b"no gzip", "cannot be read"),
    ("acl2021.json.gz", gzip.compress(b"[]", mtime=0)[:-3], "cannot be read"),
    ("acl2021.json.gz", gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 20, "cannot be read"),
    ("acl2021.json", b"<html>", "cannot be read"),
    ("acl2021.json", b"[" * 100_000, "cannot be read"),
    ("acl2021.json", b'{"title": "a"}', "not a JSON array of objects with"),
    ("acl2021.json", b'["title"]', "not a JSON array of objects with"),
    ("acl2021.json", b'[{"title": 3, "abstract": "a"}]', "not a JSON array of objects with"),
    ("acl2021.json", b'[{"title": "\\ud800", "abstract": "a"}]', "not a JSON array of objects with"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD)
def test_a_damaged_source_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: .*{message}"):
        write_splits(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_a_source_without_an_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.sources.papers.LARGEST", 10_000)
    (tmp_path / "acl2021.json.gz").write_bytes(gzip.compress(b"[" + b" " * 1_000_000 + b"]"))
    with pytest.raises(DataError, match=r"acl2021.json.gz: is longer than 10,000 bytes"):
        write_splits(tmp_path, tmp_path / "out")
    (tmp_path / "acl2021.json.gz").unlink()
    os.mkfifo(tmp_path / "acl2021.json")  # without a writer
    with pytest.raises(DataError, match=r"acl2021.json: is not a regular file"):
        write_splits(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("name", "message"), [("none", "no such folder"), ("", "no file of a known conference")])
def test_a_folder_without_papers_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_splits(tmp_path / name, tmp_path / "out")


@pytest.mark.skipif(not PAPERS.is_dir(), reason="needs the papers' files beside the project")
def test_the_published_sizes(tmp_path: Path) -> None:
    counts = write_splits(PAPERS, tmp_path)
    assert (counts["train"], counts["valid"], counts["test"]) == (14043, 1721, 1704)
    assert counts["read"] == counts["used"] + counts["skipped"]
    titles = [{" ".join(row["title"].lower().split()) for row in rows} for rows in written(tmp_path).values()]
    assert sum(map(len, titles)) == len(set().union(*titles)) == counts["used"]


@pytest.mark.skipif(not PAPERS.is_dir(), reason="needs the papers' files beside the project")
def test_the_original_papers_format_reads_by_options_alone() -> None:
    fixture = PAPERS / "s2_papers_fixture.jsonl"
    corpus = corpus_of(fixture, fields=["title", "paperAbstract"], label="venue", id="id")
    records = [record for record in corpus.reader().read(corpus.source.rows("train")) if record]
    assert len(records) == 10
    assert {record.labels for record in records} == {("AI",), ("ACL",), ("ML",)}
    assert all(len(record.id) == 40 for record in records)


def test_a_kill_between_two_files_never_mixes_two_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call is the last one: train.jsonl is there beside the others of its own source, or not at all."""
    sources = [
        write_papers(tmp_path / name, acl2021=[paper(f"{name} {i}") for i in range(60)]) for name in ("first", "second")
    ]
    out, real, calls = tmp_path / "out", {name: getattr(Path, name) for name in ("unlink", "rename")}, 0

    def dying(name: str, at: int) -> Any:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise KeyboardInterrupt
            return real[name](path, *arguments, **options)

        return call

    for at in range(1, 7):
        write_splits(sources[0], out)
        calls = 0
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(Path, name, dying(name, at))
            with pytest.raises(KeyboardInterrupt):
                write_splits(sources[1], out)
        found = {path.stem: path.read_text() for path in out.glob("*.jsonl")}
        if "train" in found:
            assert set(found) == {"train", "valid", "test"}
            assert len({line.split()[1] for text in found.values() for line in text.splitlines()}) == 1
    (out / ".tmp-train.jsonl-0123456789abcdef").touch()
    write_splits(sources[1], out)
    assert sorted(path.name for path in out.iterdir()) == ["test.jsonl", "train.jsonl", "valid.jsonl"]
