"""Your own data: files for training, validation and test, or one file that is split here."""

from collections.abc import Iterator
from pathlib import Path

from datasets.formats.data_files import FOLDERS, check_file, data_errors
from datasets.formats.folders import folder_files
from datasets.formats.readers import ENDINGS, FORMATS, ending_of, format_of
from datasets.formats.rows import MAX_ROW_BYTES, Layout, Row
from utils.errors import DataError


class Files:
    """Data files or folders of texts, each also .gz; a split without a file is split off `train`.

    train: training file or folder
    valid: validation file or folder; null: split off train by data.split
    test: test file or folder; null: split off train by data.split
    format: csv, tsv, jsonl, parquet, text, labelled_lines, folder (LABEL/NAME.txt) or file_per_class; auto: by the file's name
    encoding: text encoding, or several to try in this order; for JSON, UTF-8 is tried first
    delimiter: cell delimiter; null: a comma in CSV, a tab in TSV
    quotes: whether cells may be quoted; null: in CSV, but not in TSV
    columns: column names of files without a header line
    max_row_bytes: maximum size in bytes of a line, a cell or a one-text file; a larger one is an error
    """

    def __init__(
        self,
        *,
        train: str,
        valid: str | None = None,
        test: str | None = None,
        format: str = "auto",
        encoding: str | list[str] = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        columns: list[str] | None = None,
        max_row_bytes: int = MAX_ROW_BYTES,
    ) -> None:
        if format != "auto" and format not in FORMATS:
            raise ValueError(f"format must be auto or one of {', '.join(FORMATS)}, got {format!r}")
        if delimiter is not None and len(delimiter) != 1:
            raise ValueError(f"delimiter must be one character, got {delimiter!r}")
        if delimiter is not None and delimiter in '"\r\n':
            raise ValueError(f"delimiter must not be a quote or a line end, got {delimiter!r}")
        if "" in (train, valid, test):
            raise ValueError("train, valid and test must name a file or a folder, got an empty path")
        if columns is not None and len(set(columns)) != len(columns):
            raise ValueError(f"columns must name each column once, got {columns}")
        if not 1 <= max_row_bytes < 2**31:
            raise ValueError(f"max_row_bytes must be between 1 and {2**31 - 1:,}, got {max_row_bytes}")
        self.format = format
        self.paths = {split: Path(path) for split, path in (("train", train), ("valid", valid), ("test", test)) if path}
        self.layout = Layout(check_encodings(encoding), delimiter, quotes, columns, max_row_bytes=max_row_bytes)

    @property
    def splits(self) -> list[str]:
        """The splits that have a file of their own."""
        return list(self.paths)

    def files(self, split: str) -> list[Path]:
        """Files with the content of the split. Raises DataError where there is none."""
        path = self.paths[split]
        kind = self._format(path)
        check_file(path, kind)
        if kind not in FOLDERS:
            return [path]
        found, others = folder_files(path, kind)
        if not found:
            expected = "LABEL.txt" if kind == "file_per_class" else "LABEL/NAME.txt"
            hint = "; did you mean data.format: file_per_class?" if kind == "folder" and others else ""
            raise DataError(f"{path}: holds no file in a folder per class (expected {path}/{expected}){hint}")
        return found

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of a split, in file order."""
        path = self.paths[split]
        kind = self._format(path)
        check_file(path, kind)
        return FORMATS[kind](path, self.layout)

    def format_of(self, path: Path) -> str:
        """Format of another file: data.format if a file of the data set has the same extension, else by its extension."""
        is_alike = path.is_dir() or ending_of(path) in map(ending_of, self.paths.values())
        is_alike = is_alike and self.format != "auto" and path.is_dir() == (self.format in FOLDERS)
        return self.format if is_alike else format_of(path)

    def layout_of(self, kind: str) -> Layout:
        """Layout of a file of this format: the data set's if its files have that format, else the default."""
        return (
            self.layout
            if kind in map(self._format, self.paths.values())
            else Layout(max_row_bytes=self.layout.max_row_bytes)
        )

    def _format(self, path: Path) -> str:
        if self.format != "auto":
            return self.format
        with data_errors(path):
            is_known = path.exists() or ending_of(path) in ENDINGS
            return format_of(path) if is_known else "folder"  # `check_file` reports that it does not exist


def check_encodings(encoding: str | list[str]) -> list[str]:
    """The encodings to try, in this order. Raises ValueError for an unknown one, or one in which a line feed is not one byte."""
    given = [encoding] if isinstance(encoding, str) else encoding
    encodings = ["utf-8" if name == "utf-8-sig" else name for name in given]  # a byte order mark is never text here
    for name in encodings:
        try:
            is_ascii_like = "\n".encode(name) == b"\n"
        except (LookupError, UnicodeError, ValueError):
            raise ValueError(f"encoding {name!r} is unknown; utf-8, latin-1 and cp1252 are common") from None
        if not is_ascii_like:
            raise ValueError(f"encoding {name!r} is not supported; convert the file to UTF-8")
    if not encodings:
        raise ValueError("encoding is an empty list")
    return encodings
