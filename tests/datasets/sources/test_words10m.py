"""Ten million words: which documents come out of which files, on small ones of the same form."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from datasets.sources import words10m
from main import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in words10m.FILES.values():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    articles = " = One = \n \n A b . C d . \n \n = Two = \n \n E f . \n"
    (tmp_path / words10m.FILES["wikitext"]).write_bytes(gzip.compress(articles.encode()))
    with zipfile.ZipFile(tmp_path / words10m.FILES["brown"], "w") as archive:
        archive.writestr("brown/ca01", "\n\n\tThe/at ``/`` day/nn ''/'' ./.\n\n\tAnd/cc 1/2/cd ./.\n")
        archive.writestr("brown/README", "no text")
    with tarfile.open(tmp_path / words10m.FILES["novels"], "w:gz") as archive:
        for name in ("a", "b"):
            text = f"\ufeffChapter of {name}.\r\n\r\nIt was\r\nlong. It ended.\r\n".encode()
            member = tarfile.TarInfo(f"corpus/{name}.txt")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return tmp_path


def documents(out: Path) -> list[list[str]]:
    texts = [(out / f"{split}.txt").read_text() for split in ("train", "valid", "test")]
    return sorted(document.splitlines() for text in texts for document in text.strip().split("\n\n") if document)


def test_all_three_come_as_documents_of_a_sentence_a_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words10m, "BOOK_WORDS", 4)
    assert main(["prepare", "words10m", "--source", str(source), "--out", str(source / "out")]) == 0
    expected = [["One", "A b .", "C d ."], ["Two", "E f ."], ['The " day " .', "And 1/2 ."]]
    for name in "ab":
        expected += [[f"Chapter of {name}.", "It was long."], ["It ended."]]
    assert documents(source / "out") == sorted(expected)


def test_the_novels_fill_up_the_words(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(words10m, "NUM_WORDS", 21)
    monkeypatch.setattr(words10m, "BOOK_WORDS", 3)
    assert main(["prepare", "words10m", "--source", str(source), "--out", str(source / "out")]) == 0
    found = documents(source / "out")
    assert ["Chapter of a."] in found
    assert ["It ended."] not in found
    assert "beyond 21 words" in capsys.readouterr().out


@pytest.mark.parametrize("name", words10m.FILES)
def test_a_missing_or_damaged_file_is_named(source: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "words10m", "--source", str(source), "--out", str(source / "out")]
    file = source / words10m.FILES[name]
    file.write_bytes(b"\x1f\x8b nothing")
    assert main(words) == 3
    file.unlink()
    assert main(words) == 3
    errors = capsys.readouterr().err.strip().splitlines()
    assert [file.name in error for error in errors] == [True, True]
    assert not (source / "out" / "train.txt").exists()
