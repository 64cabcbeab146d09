"""MRPC: 5,801 sentence pairs from news, paraphrase or not (Dolan and Brockett 2005), read as published.

The training and test files are Microsoft's; the pairs of the training file listed in dev_ids.tsv are GLUE's validation set (Wang
et al. 2019): 3,668 training, 408 validation and 1,725 test pairs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.formats.data_files import check_file
from datasets.formats.delimited import read_tsv
from datasets.formats.rows import Layout, Row
from utils.errors import DataError

TRAIN, TEST, DEV_IDS = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv"
COLUMNS = {"#1 String": "sentence1", "#2 String": "sentence2"}
LABELS = {"0": "not_equivalent", "1": "equivalent"}  # GLUE's names
IDS = ("#1 ID", "#2 ID")


class MRPC:
    """MRPC's sentence pairs (sentence1, sentence2; equivalent or not_equivalent), in GLUE's splits, from the files as published.

    folder: contains msr_paraphrase_train.txt, msr_paraphrase_test.txt and dev_ids.tsv
    """

    splits = ("train", "valid", "test")

    def __init__(self, *, folder: str = "data/mrpc") -> None:
        if not folder:
            raise ValueError("folder must name the folder of MRPC's files, got an empty path")
        self.folder = Path(folder)

    def files(self, split: str) -> list[Path]:
        """Files with the content of the split. Raises DataError where one is missing."""
        names = [TEST] if split == "test" else [TRAIN, DEV_IDS]
        return [self._file(name) for name in names]

    def rows(self, split: str) -> Iterator[Row]:
        """sentence1, sentence2, label and id (the two sentences' numbers, "1089874-1089925") of every pair of the split."""
        rows = map(_pair, read_tsv(self.files(split)[0], Layout()))
        if split == "test":
            yield from rows
            return
        dev_ids, seen = self._dev_ids(), set[str]()
        for row in rows:
            id = row.values.get("id", "")
            seen.add(id)
            if (id in dev_ids) == (split == "valid"):
                yield row
        if missing := [id for id in dev_ids if id not in seen]:
            path, place = self._file(TRAIN), dev_ids[missing[0]]
            raise DataError(f"{place}: the pair {missing[0]} is in no row of {path} ({len(missing)} such pairs)")

    def _dev_ids(self) -> dict[str, str]:
        """The validation pairs, each with its FILE:LINE; the file has no header."""
        ids = {}
        for row in read_tsv(self._file(DEV_IDS), Layout(columns=IDS)):
            if row.problem is not None:
                raise DataError(f"{row.place}: {row.problem}; expected the numbers of a pair's two sentences")
            ids[_id(row.values)] = row.place
        return ids

    def _file(self, name: str) -> Path:
        """A file of the folder, gzipped or not."""
        path, packed = self.folder / name, self.folder / f"{name}.gz"
        found = packed if packed.exists() and not path.exists() else path
        check_file(found, "tsv")
        return found


def _pair(row: Row) -> Row:
    """Convert a row of Microsoft's files to our columns."""
    if row.problem is not None:
        return row
    if missing := [column for column in ("Quality", *IDS, *COLUMNS) if column not in row.values]:
        raise DataError(f"{row.header}: there is no column {missing[0]!r}; is this MRPC as published?")
    values: dict[str, Any] = {name: row.values[column].strip() for column, name in COLUMNS.items()}
    quality = row.values["Quality"]
    problem = None if quality in LABELS else f"Quality is {quality!r}, not 0 or 1"
    return Row(row.place, values | {"label": LABELS.get(quality), "id": _id(row.values)}, problem)


def _id(values: dict[str, Any]) -> str:
    return "-".join(values[column] for column in IDS)
