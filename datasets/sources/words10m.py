"""Ten million words of English to pre-train on: novels, WikiText-2 and the Brown corpus, as documents of one sentence a line.

WikiText-2's training articles and the Brown corpus are taken whole, novels (cut into documents of 2,000 words) up to the number of
words. By a hash of its first sentences a document in 100 is for validation, and one for the test.
"""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.formats.data_files import check_file
from datasets.rows.documents import BORDERS
from datasets.sources.documents import Documents
from datasets.sources.papers import publish
from utils.errors import DataError
from utils.files.storage import storage_errors

NUM_WORDS, BOOK_WORDS = 10_000_000, 2000
FILES = {"wikitext": "wikitext2/train.txt.gz", "brown": "brown/brown.zip", "novels": "novels/100_english_novels.tar.gz"}
MAX_BYTES = 2**24  # of one book


def write_documents(source: Path, out: Path) -> dict[str, Any]:
    """Write train.txt, valid.txt and test.txt; -> what was read, used and skipped, in documents."""
    for file in FILES.values():
        check_file(source / file, "documents")
    texts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    num_words = num_read = 0
    for document in _documents(source):
        num_read += 1
        if num_words < NUM_WORDS:
            num_words += sum(len(sentence.split()) for sentence in document)
            texts[_split(document)].append("\n".join(document) + "\n")
    files = {f"{split}.txt": "\n".join(found).encode() for split, found in texts.items()}
    with storage_errors(out, sum(map(len, files.values()))):
        publish(out, files)
    used = sum(map(len, texts.values()))
    reasons = f"beyond {NUM_WORDS:,} words" if num_read > used else "none"
    counts = {split: len(found) for split, found in texts.items()}
    return {"read": num_read, "used": used, "skipped": num_read - used, "reasons": reasons, **counts}


def _documents(source: Path) -> Iterator[list[str]]:
    """All documents, the novels last, a part of each in turn, so that all authors are there."""
    wikitext = Documents(train=str(source / FILES["wikitext"]), format="wikitext")
    yield from (document.sentences for document in wikitext.reader().read(wikitext.files("train")))
    yield from _brown(source / FILES["brown"])
    waiting = [iter(parts) for parts in _novels(source / FILES["novels"])]
    while waiting:
        for book in list(waiting):
            if (part := next(book, None)) is None:
                waiting.remove(book)
            else:
                yield part


def _brown(path: Path) -> Iterator[list[str]]:
    """The texts of the Brown corpus without their tags."""
    quotes = {"``": '"', "''": '"'}
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                name for name in archive.namelist() if len(Path(name).name) == 4 and Path(name).name[0] == "c"
            )
            for name in names:
                lines = [line.split() for line in archive.read(name).decode("ascii").splitlines() if line.strip()]
                words = [[word.rpartition("/")[0] for word in line] for line in lines]
                yield [" ".join(quotes.get(word, word) for word in line) for line in words]
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, KeyError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _novels(path: Path) -> list[list[list[str]]]:
    """The parts of each novel."""
    try:
        with tarfile.open(path) as archive:
            members = sorted((m for m in archive if m.isfile() and m.name.endswith(".txt")), key=lambda m: m.name)
            books = [archive.extractfile(member).read(MAX_BYTES) for member in members]  # type: ignore[union-attr]
        return [list(_parts(book.decode("utf-8-sig"))) for book in books]
    except (OSError, EOFError, tarfile.TarError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None


def _parts(text: str) -> Iterator[list[str]]:
    """A book's sentences, cut into documents."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.replace("\r\n", "\n").split("\n\n"))
    lines = (("", line) for paragraph in paragraphs for line in (paragraph, ""))
    yield from filter(None, (document for _, document in BORDERS["books"](lines, BOOK_WORDS)))


def _split(document: list[str]) -> str:
    number = int(hashlib.sha256(" ".join(document[:3]).encode()).hexdigest()[:8], 16) % 100
    return {0: "test", 1: "valid"}.get(number, "train")
