"""Documents to pre-train on: files or folders of raw text, each also `.gz`."""

import os
from pathlib import Path
from typing import Literal

from datasets.formats.data_files import check_exists, data_errors
from datasets.formats.rows import MAX_ROW_BYTES, Layout
from datasets.rows.documents import BORDERS, TABLES, DocumentReader
from datasets.sources.files import check_encodings
from utils.errors import DataError


class Documents:
    """Raw text in files or folders; splits that are not given are cut off `train` by whole articles, books or rows.

    train: the file or folder of the training documents, or several
    valid: the same for validation; null: data.split's share of train
    test: the same for the test; null: data.split's share of train
    format: sentences, pairs, wikitext, books, csv, tsv, jsonl or parquet; auto: a table's format by the file's name
    column: the column of a table that holds the text
    book_words: number of words after which a book is cut into another document
    encoding: text encoding, or several to try in this order
    max_row_bytes: maximum size in bytes of a line; a longer one is an error
    on_bad_row: whether a line that cannot be used ends the run, or is skipped and counted
    """

    def __init__(
        self,
        *,
        train: str | list[str],
        valid: str | list[str] | None = None,
        test: str | list[str] | None = None,
        format: str = "auto",
        column: str = "text",
        book_words: int = 2000,
        encoding: str | list[str] = "utf-8",
        max_row_bytes: int = MAX_ROW_BYTES,
        on_bad_row: Literal["error", "skip"] = "error",
    ) -> None:
        known = ["auto", *BORDERS, *TABLES]
        if format not in known:
            raise ValueError(f"format must be one of {', '.join(known)}, got {format!r}")
        if book_words < 1:
            raise ValueError(f"book_words must be at least 1, got {book_words}")
        if not 1 <= max_row_bytes < 2**31:
            raise ValueError(f"max_row_bytes must be between 1 and {2**31 - 1:,}, got {max_row_bytes}")
        given = {
            split: [paths] if isinstance(paths, str) else paths
            for split, paths in (("train", train), ("valid", valid), ("test", test))
            if paths is not None
        }
        if not all(paths and all(paths) for paths in given.values()):
            raise ValueError("train, valid and test must each name a file or a folder, got an empty one")
        self.paths = {split: [Path(path) for path in paths] for split, paths in given.items()}
        self.format, self.column, self.book_words, self.on_bad_row = format, column, book_words, on_bad_row
        self.layout = Layout(check_encodings(encoding), max_row_bytes=max_row_bytes)

    @property
    def splits(self) -> list[str]:
        """The splits that have files of their own."""
        return list(self.paths)

    def files(self, split: str) -> list[Path]:
        """The files of a split; of a folder all in it, sorted, but hidden ones. Raises DataError where there is none."""
        found: list[Path] = []
        for path in self.paths[split]:
            check_exists(path)
            with data_errors(path):
                inside = sorted(_files_below(path)) if path.is_dir() else [path]
            if not inside:
                raise DataError(f"{path}: is an empty folder")
            if not_files := [file for file in inside if not file.is_file()]:
                raise DataError(f"{not_files[0]}: is not a regular file, and training reads its files more than once")
            found += inside
        return found

    def reader(self) -> DocumentReader:
        """A reader with its own counts."""
        return DocumentReader(self.format, self.layout, self.column, self.book_words, on_bad_row=self.on_bad_row)


def _files_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names if not name.startswith(".")]
    return found
