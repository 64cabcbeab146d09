"""Parallel text: a file for each language, whose lines with the same number belong together (Moses' format)."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from datasets.formats.data_files import check_file, text_lines
from datasets.formats.rows import BLANK, MAX_ROW_BYTES, Layout, Row
from datasets.sources.files import check_encodings
from utils.errors import DataError


class ParallelFiles:
    """Parallel files, one text a line, each also .gz; a split without files is split off `train`.

    train: training file of each column, such as {de: train.de.gz, en: train.en.gz}
    valid: validation file of each column; null: split off train by data.split
    test: test file of each column; null: split off train by data.split
    encoding: text encoding, or several to try in this order
    max_row_bytes: maximum size in bytes of a line; a longer one is an error
    """

    def __init__(
        self,
        *,
        train: dict[str, str],
        valid: dict[str, str] | None = None,
        test: dict[str, str] | None = None,
        encoding: str | list[str] = "utf-8",
        max_row_bytes: int = MAX_ROW_BYTES,
    ) -> None:
        given = {"train": train, "valid": valid, "test": test}
        self.paths = {split: {c: Path(p) for c, p in files.items()} for split, files in given.items() if files}
        if "train" not in self.paths or len(train) < 2:
            raise ValueError(
                f"train must name a file for each of two columns, such as {{de: a.de, en: a.en}}, got {train}"
            )
        for split, files in self.paths.items():
            if files.keys() != train.keys():
                raise ValueError(f"{split} must have the columns of train, {', '.join(train)}, got {', '.join(files)}")
            if Path() in files.values():
                raise ValueError(f"{split} must name a file for each column, got an empty path")
        if not 1 <= max_row_bytes < 2**31:
            raise ValueError(f"max_row_bytes must be between 1 and {2**31 - 1:,}, got {max_row_bytes}")
        self.layout = Layout(check_encodings(encoding), max_row_bytes=max_row_bytes)

    @property
    def columns(self) -> list[str]:
        """The columns, in the order of their files."""
        return list(self.paths["train"])

    @property
    def splits(self) -> list[str]:
        """The splits that have files of their own."""
        return list(self.paths)

    def files(self, split: str) -> list[Path]:
        """Files with the content of the split. Raises DataError where one is missing."""
        found = list(self.paths[split].values())
        for path in found:
            check_file(path, "text")
        return found

    def rows(self, split: str) -> Iterator[Row]:
        """The lines that belong together, as a row's columns."""
        self.files(split)
        return parallel_rows(self.paths[split], self.layout)


def parallel_rows(paths: dict[str, Path], layout: Layout) -> Iterator[Row]:
    """A row for each line number. Raises DataError where one file is shorter than the others."""
    first = next(iter(paths.values()))
    files = [text_lines(path, layout) for path in paths.values()]
    for number, lines in enumerate(itertools.zip_longest(*files), start=1):
        ended = [path for path, line in zip(paths.values(), lines, strict=True) if line is None]
        if ended:
            other = next(path for path in paths.values() if path not in ended)
            raise DataError(
                f"{ended[0]}: ends before line {number}, which {other} has; line i of each file must belong together"
            )
        values = {column: line[1].rstrip("\r\n") for column, line in zip(paths, lines, strict=True)}
        is_blank = not any(value.strip() for value in values.values())
        problem: str | None = BLANK if is_blank else None
        place = first
        for (column, path), line in zip(paths.items(), lines, strict=True):
            if problem is None and (line[2] or not values[column].strip()):
                problem, place = line[2] or f"no text in {column!r}", path
        yield Row(f"{place}:{number}", values, problem)
