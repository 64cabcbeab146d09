"""Folders of files: one folder or one file per class."""

import os
from collections.abc import Iterator
from pathlib import Path

from datasets.formats.data_files import BOM, data_errors, decode, read_bytes, text_lines
from datasets.formats.rows import BLANK, Harmless, Layout, Row
from utils.errors import DataError, printable

HIDDEN, BACKUP, README = Harmless("hidden file"), Harmless("backup file"), Harmless("README")
BESIDE = Harmless("file next to the class folders")
NO_FILE = "is not a regular file"
BELOW = "is in a subfolder, but format file_per_class reads files side by side; see data.format: folder"


def read_folder(path: Path, layout: Layout) -> Iterator[Row]:
    """A folder per class: FOLDER/LABEL/NAME.txt, one text per file; columns `text`, `label` and `id` (LABEL/NAME.txt).

    Class folders may be nested: the label of LABEL/2023/NAME.txt is LABEL.
    """
    used, skipped = folder_files(path, "folder")
    if not used and any(row.problem == BESIDE for row in skipped):
        raise DataError(f"{path}: none of its files is in a class folder, as LABEL/NAME.txt is; see data.format")
    for file in used:
        text, problem = decode(read_bytes(file, layout.max_row_bytes).removeprefix(BOM), layout.encodings)
        name = file.relative_to(path)
        yield Row(str(file), {"text": text, "label": name.parts[0], "id": printable(name.as_posix())}, problem)
    yield from skipped


def read_file_per_class(path: Path, layout: Layout) -> Iterator[Row]:
    """A file per class: FOLDER/LABEL.txt, one text per line; columns `text` and `label`.

    The label is the file name without its extension (and `.gz`), or with it if two files would share a label (mr.pos, mr.neg).
    """
    used, skipped = folder_files(path, "file_per_class")
    names = [file.name.removesuffix(".gz") for file in used]
    stems = [Path(name).stem for name in names]
    for file, label in zip(used, stems if len(set(stems)) == len(stems) else names, strict=True):
        for number, line, problem in text_lines(file, layout):
            text = line.rstrip("\r\n")
            yield Row(f"{file}:{number}", {"text": text, "label": label}, problem or (None if text.strip() else BLANK))
    yield from skipped


def folder_files(path: Path, kind: str) -> tuple[list[Path], list[Row]]:
    """Files to read, sorted by class and name, and a row for each skipped file, with the reason.

    Skipped files come last, so that adding one changes no row's index.
    """
    used, skipped = [], []
    for file in sorted(_all_files(path)):
        if problem := _skipped(file, file.relative_to(path).parts, kind):
            skipped.append(Row(str(file), {}, problem))
        else:
            used.append(file)
    return used, skipped


def _skipped(file: Path, parts: tuple[str, ...], kind: str) -> str | None:
    """The reason to skip a file of the folder; None if it is read."""
    if any(part.startswith(".") for part in parts):
        return HIDDEN
    if parts[-1].endswith("~"):
        return BACKUP
    if parts[-1].partition(".")[0].lower() == "readme":
        return README
    if kind == "folder" and len(parts) == 1:
        return BESIDE
    if kind == "file_per_class" and len(parts) > 1:
        return BELOW
    return None if file.is_file() else NO_FILE


def _all_files(path: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are followed. Raises DataError for a cycle."""
    waiting = [(path, [os.path.realpath(path)])]
    while waiting:
        folder, above = waiting.pop()
        with data_errors(folder), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    yield Path(entry)
                elif (real := os.path.realpath(entry)) not in above:
                    waiting.append((Path(entry), [*above, real]))
                else:
                    raise DataError(f"{entry.path}: is a link to a folder that contains it")
