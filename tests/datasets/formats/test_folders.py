"""Folders of a folder or a file per class: every file below is a text, or counted with the reason why not."""

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest
from conftest import tiny_rows
from refusals import refusal, trained

from datasets.formats.rows import Harmless
from datasets.sources.files import Files
from datasets.store.file_hashes import content_key
from main import main
from utils.errors import DataError

NESTED = ["spam/1.txt", "spam/2023/1.txt", "spam/2023/05/1.txt", "ham/a.txt", "ham/old/b.txt.gz"]
SKIPPED = {
    ".DS_Store": "hidden file",
    "spam/.hidden": "hidden file",
    "spam/2023/.git/config": "hidden file",
    "spam/1.txt~": "backup file",
    "README.md": "README",
    "ham/old/readme": "README",
    "labels.csv": "file next to the class folders",
}


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = f"text of {name}".encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def test_the_label_is_the_first_folder_and_every_file_is_accounted_for(tmp_path: Path) -> None:
    rows = list(Files(train=str(make(tmp_path, *NESTED, *SKIPPED))).rows("train"))
    used = [row for row in rows if row.problem is None]
    assert sorted(row.values["id"] for row in used) == sorted(NESTED)
    assert all(row.values["label"] == row.values["id"].partition("/")[0] for row in used)
    assert all(row.values["text"] == f"text of {row.values['id']}" for row in used)
    assert len(rows) == sum(len(files) for _, _, files in os.walk(tmp_path))  # counted by another way
    assert Counter(row.problem for row in rows if row.problem) == Counter(SKIPPED.values())
    assert all(isinstance(row.problem, Harmless) for row in rows if row.problem)
    assert [row.problem is None for row in rows] == [True] * len(used) + [False] * len(SKIPPED)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    """Its prediction would be empty, and succeed."""
    make(tmp_path, "a.txt", "b.txt", ".DS_Store")
    with pytest.raises(DataError, match="none of its files is in a class folder"):
        list(Files(train=str(tmp_path)).rows("train"))


def test_what_is_no_file_is_a_bad_row(tmp_path: Path) -> None:
    make(tmp_path, *NESTED)
    os.mkfifo(tmp_path / "spam" / "pipe")
    (tmp_path / "spam" / "broken.txt").symlink_to("nowhere")
    rows = list(Files(train=str(tmp_path)).rows("train"))
    assert {row.place for row in rows if row.problem == "is not a regular file"} == {
        str(tmp_path / "spam" / "pipe"),
        str(tmp_path / "spam" / "broken.txt"),
    }


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1.txt")
    folder = make(tmp_path / "d", "ham/1.txt")
    (folder / "spam").symlink_to(tmp_path / "elsewhere")
    assert [row.values["id"] for row in Files(train=str(folder)).rows("train")] == ["ham/1.txt", "spam/1.txt"]
    (folder / "ham" / "circle").symlink_to(folder)
    with pytest.raises(DataError, match="circle: is a link to a folder that contains it"):
        list(Files(train=str(folder)).rows("train"))


def test_the_key_of_the_cache_knows_the_label_of_a_nested_file(tmp_path: Path) -> None:
    def key(*names: str) -> str:
        folder = make(tmp_path / str(len(list(tmp_path.iterdir()))), *names)
        for file in folder.rglob("*.txt"):
            file.write_text("the same")
        return content_key(Files(train=str(folder)).files("train"), {}, tmp_path / "hashes.json")

    first = key("ham/2023/1.txt", "spam/2023/2.txt")
    assert first == key("ham/2023/1.txt", "spam/2023/2.txt", ".DS_Store")
    assert len({first, key("ham/2023/2.txt", "spam/2023/1.txt"), key("ham/2024/1.txt", "spam/2023/2.txt")}) == 3


def test_a_run_on_nested_folders_counts_every_file(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, row in enumerate(tiny_rows(60)):
        make(workplace / "d", name := f"{row['label']}/{'2023/' * (i % 3)}{i}.txt")
        (workplace / "d" / name).write_text(row["text"])
    make(workplace / "d", *SKIPPED)
    report = trained(capsys, "data.train=d", "data.fields=[text]", "data.ignore_labels=[ham, spam]")
    num_files = sum(len(files) for _, _, files in os.walk("d"))
    assert sum(report[split]["read"] for split in ("train", "valid", "test")) == num_files == 67
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 60
    assert report["train"]["skipped"] == dict(Counter(SKIPPED.values()))


CLASSES = {
    "distinct stems": (["pos.txt", "neg.txt.gz"], ["neg", "pos"]),
    "one stem, as in MR": (["rt-polarity.pos", "rt-polarity.neg"], ["rt-polarity.neg", "rt-polarity.pos"]),
    "dots, as in Subj": (["plot.tok.gt9.5000", "quote.tok.gt9.5000"], ["plot.tok.gt9", "quote.tok.gt9"]),
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_file_per_class_has_a_text_a_line(tmp_path: Path, case: str) -> None:
    names, labels = CLASSES[case]
    make(tmp_path, *names, "README.txt", ".hidden")
    for name in names:
        data = f"{name} one\n\n{name} two".encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    rows = list(Files(train=str(tmp_path), format="file_per_class").rows("train"))
    assert [row.problem for row in rows].count("blank line") == 2
    assert len(rows) == 2 * 3 + 2
    assert [row.values["label"] for row in rows if not row.problem] == [label for label in labels for _ in range(2)]
    assert [row.values["text"] for row in rows if not row.problem] == [
        f"{name} {word}" for name in sorted(names) for word in ("one", "two")
    ]
    assert rows[0].place == f"{tmp_path}/{min(names)}:1"


def test_a_file_per_class_through_the_life_of_a_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "d").mkdir()
    for label in ("chess", "sailing", "cooking"):
        texts = [row["text"] for row in tiny_rows(120) if row["label"] == label]
        (workplace / "d" / f"{label}.txt").write_text("".join(text + "\n" for text in texts))
    options = ["data.train=d", "data.fields=[text]"]
    assert refusal(capsys, *options).endswith("did you mean data.format: file_per_class?")
    report = trained(capsys, *options, "data.format=file_per_class", "data.cache_folder=cache")
    assert sum(report[split]["used"] for split in ("train", "valid", "test")) == 120
    assert main(["test", "experiments/rows", "--data", "d", "--json"]) == 0
    assert '"read": 120, "used": 120' in capsys.readouterr().out
    for given in ("d", "d/chess.txt"):
        assert main(["predict", "experiments/rows", "--input", given]) == 0
        assert len(capsys.readouterr().out.splitlines()) == (120 if given == "d" else 40)
    (workplace / "d" / "more").mkdir()
    (workplace / "d" / "more" / "golf.txt").write_text("swing\n")
    assert "d/more/golf.txt: is in a subfolder" in refusal(capsys, *options, "data.format=file_per_class")
