"""MRPC as published: GLUE's splits, stray quotes, and what is missing is named."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import SHARED_DATA
from corpora import corpus_over

from datasets.sources.mrpc import MRPC
from utils.errors import DataError

PUBLISHED = SHARED_DATA / "mrpc"
HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
TRAIN = HEADER + '1\t1\t2\tA " quote .\tAnother .\n0\t3\t4\tOne .\tTwo .\n1\t5\t6\tX .\tY .\n'
TEST = HEADER + "0\t7\t8\tU .\tV .\n"


def folder_of(folder: Path, train: str = TRAIN, test: str = TEST, dev: str = "3\t4\n") -> MRPC:
    for name, text in (("msr_paraphrase_train.txt", train), ("msr_paraphrase_test.txt", test), ("dev_ids.tsv", dev)):
        (folder / name).write_text(text, encoding="utf-8")
    return MRPC(folder=str(folder))


def test_the_pairs_of_dev_ids_validate_and_the_others_train(tmp_path: Path) -> None:
    mrpc = folder_of(tmp_path)
    rows = {split: [row.values for row in mrpc.rows(split)] for split in mrpc.splits}
    assert rows["train"] == [
        {"sentence1": 'A " quote .', "sentence2": "Another .", "label": "equivalent", "id": "1-2"},
        {"sentence1": "X .", "sentence2": "Y .", "label": "equivalent", "id": "5-6"},
    ]
    assert [row["id"] for row in rows["valid"]] == ["3-4"]
    assert rows["test"] == [{"sentence1": "U .", "sentence2": "V .", "label": "not_equivalent", "id": "7-8"}]
    assert [path.name for path in mrpc.files("valid")] == ["msr_paraphrase_train.txt", "dev_ids.tsv"]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published files")
def test_the_published_files_give_glues_splits() -> None:
    mrpc = MRPC(folder=str(PUBLISHED))
    labels = {split: Counter(row.values["label"] for row in mrpc.rows(split)) for split in mrpc.splits}
    assert labels == {
        "train": {"equivalent": 2474, "not_equivalent": 1194},
        "valid": {"equivalent": 279, "not_equivalent": 129},
        "test": {"equivalent": 1147, "not_equivalent": 578},
    }
    scan = corpus_over(mrpc, fields=["sentence1", "sentence2"], pair=True, id="id").scan()
    assert {split: len(rows) for split, rows in scan.rows.items()} == {"train": 3668, "valid": 408, "test": 1725}


@pytest.mark.parametrize("name", ["msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    mrpc = folder_of(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        corpus_over(mrpc, fields=["sentence1", "sentence2"]).scan()


BAD = [
    ({"dev": "3\t4\n9\t9\n"}, "dev_ids.tsv:2: the pair 9-9 is in no row of .*train.txt .1 such pairs."),
    ({"dev": "3\n"}, "dev_ids.tsv:1: 1 columns instead of 2; expected the numbers"),
    ({"train": HEADER + "1\t1\t2\tA .\n"}, "train.txt:2: 4 columns instead of 5"),
    ({"train": HEADER + "2\t3\t4\tA .\tB .\n"}, "train.txt:2: Quality is '2', not 0 or 1"),
    ({"test": "label\ttext\n1\ta\n"}, "test.txt:1: there is no column 'Quality'; is this MRPC as published?"),
]


@pytest.mark.parametrize(("files", "message"), BAD)
def test_damaged_files_are_refused_where_they_are_damaged(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        corpus_over(folder_of(tmp_path, **files), fields=["sentence1", "sentence2"]).scan()


def test_an_empty_folder_name_is_refused() -> None:
    with pytest.raises(ValueError, match="folder must name the folder"):
        MRPC(folder="")
