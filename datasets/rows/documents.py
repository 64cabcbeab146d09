"""Files -> documents, each a list of sentences: what pre-training reads. Streamed: a document at a time is in memory.

A format says where a document ends and where a sentence does:

    sentences   one sentence a line, a blank line between documents (the format of Devlin et al. 2019)
    pairs       two sentences a line with a tab between them, each line a document (codertimo/BERT-pytorch)
    wikitext    a line is a paragraph, and a heading ` = Title = ` begins a document
    books       a file is a book; blank lines between paragraphs; a book is cut into documents of `book_words` words
    csv, tsv, jsonl, parquet    a row is a document, its text in `column`
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.formats.data_files import text_lines
from datasets.formats.readers import ENDINGS, FORMATS, ending_of
from datasets.formats.rows import BLANK, Layout
from datasets.rows.sentences import sentences
from utils.errors import DataError

TITLE = re.compile(r"\s*= ([^=].*?) =\s*")  # of an article; those of its sections have more equals signs
HEADING = re.compile(r"\s*(?:= )+([^=].*?)(?: =)+\s*")
Lines = Iterable[tuple[str, str]]  # (FILE:LINE, text without its line end)


class Document(NamedTuple):
    """source: the number of the file, article or row that it is part of, which a split never divides."""

    source: int
    sentences: list[str]


class DocumentReader:
    """Reads documents and counts: read = used + skipped, in lines (rows, of a table)."""

    def __init__(self, format: str, layout: Layout, column: str, book_words: int, *, on_bad_row: str) -> None:
        self.format, self.layout, self.column, self.book_words = format, layout, column, book_words
        self.on_bad_row = on_bad_row
        self.num_read, self.skipped = 0, Counter[str]()
        self.num_sources, self.warnings = 0, list[str]()

    def read(self, paths: Sequence[Path]) -> Iterator[Document]:
        """The documents of these files, in their order; a document ends with its file. Raises DataError for a bad line."""
        for path in paths:
            format = self.format if self.format != "auto" else ENDINGS.get(ending_of(path), "text")
            if format == "text":
                raise DataError(
                    f"{path}: the ending {ending_of(path) or '(none)'} does not tell where documents end; write data.format "
                    f"(test: --format): one of {', '.join(BORDERS)}"
                )
            kind = ENDINGS.get(ending_of(path))
            if format in BORDERS and kind in ("csv", "jsonl", "parquet"):
                self.warnings.append(
                    f"{path}: is read as {format}, and its name says {kind}; is data.format: {format} right?"
                )
            num_documents, begins, read_before = 0, True, self.num_read
            if format in BORDERS:
                found = BORDERS[format](self._lines(path), self.book_words)
            else:
                found = ((True, list(sentences(text))) for _, text in self._rows(path, format))
            for is_new, document in found:
                begins |= is_new
                if document:
                    self.num_sources, begins = self.num_sources + begins, False
                    num_documents += 1
                    yield Document(self.num_sources - 1, document)
            if format == "sentences" and num_documents == 1 and self.num_read - read_before > 100:
                self.warnings.append(
                    f"{path}: has no blank line, so that it is one document; is data.format: sentences right?"
                )

    def _lines(self, path: Path) -> Lines:
        """The lines that can be read, blank ones included: they are borders."""
        for number, line, problem in text_lines(path, self.layout):
            self.num_read += 1
            if problem:
                self._skip(f"{path}:{number}", problem)
            elif not (text := line.strip()):
                self.skipped[str(BLANK)] += 1
                yield f"{path}:{number}", ""
            elif self.format == "pairs" and not _is_pair(line):
                self._skip(f"{path}:{number}", "is not two sentences with a tab between them")
            else:
                yield f"{path}:{number}", line.rstrip("\r\n") if self.format == "pairs" else text

    def _rows(self, path: Path, format: str) -> Lines:
        """The texts of a table's column."""
        for row in FORMATS[format](path, self.layout):
            self.num_read += 1
            text = row.values.get(self.column)
            if row.problem is BLANK or (isinstance(text, str) and not text.strip()):
                self.skipped[str(row.problem or "empty text")] += 1
            elif row.problem:
                self._skip(row.place, row.problem)
            elif not isinstance(text, str):
                columns = ", ".join(map(str, row.values)) or "none"
                self._skip(row.place, f"has no text in column {self.column} (data.column; its columns: {columns})")
            else:
                yield row.place, text

    def _skip(self, place: str, problem: str) -> None:
        if self.on_bad_row == "error":
            raise DataError(f"{place}: {problem}; data.on_bad_row: skip counts such lines and goes on")
        self.skipped[re.sub(r"\(.*?\)|\d+", "", problem).strip()[:60]] += 1


Found = Iterator[tuple[bool, list[str]]]  # whether a source begins with the document, and its sentences


def _by_blank_lines(lines: Lines, book_words: int) -> Found:
    document: list[str] = []
    for _, text in lines:
        if text:
            document.append(text)
        elif document:
            yield True, document
            document = []
    yield True, document


def _pairs(lines: Lines, book_words: int) -> Found:
    for _, text in lines:
        if text:
            yield True, [part.strip() for part in text.split("\t")]


def _articles(lines: Lines, book_words: int) -> Found:
    document: list[str] = []
    for _, text in lines:
        if TITLE.fullmatch(text):
            yield True, document
            document = []
        heading = HEADING.fullmatch(text)
        document += [heading[1]] if heading else sentences(text)
    yield True, document


def _books(lines: Lines, book_words: int) -> Found:
    """Paragraphs, cut at the first sentence's end after `book_words` words."""
    document, num_words, is_new = [], 0, True
    for sentence in _paragraph_sentences(lines):
        document.append(sentence)
        num_words += len(sentence.split())
        if num_words >= book_words:
            yield is_new, document
            document, num_words, is_new = [], 0, False
    yield is_new, document


def _paragraph_sentences(lines: Lines) -> Iterator[str]:
    paragraph: list[str] = []
    for _, text in lines:
        if text:
            paragraph.append(text)
        else:
            yield from sentences(" ".join(paragraph))
            paragraph = []
    yield from sentences(" ".join(paragraph))


def _is_pair(line: str) -> bool:
    parts = line.split("\t")
    return len(parts) == 2 and all(part.strip() for part in parts)


BORDERS: dict[str, Callable[[Lines, int], Found]] = {
    "sentences": _by_blank_lines,
    "pairs": _pairs,
    "wikitext": _articles,
    "books": _books,
}
TABLES = ("csv", "tsv", "jsonl", "parquet")
