"""The table of small data sets that test_walks.py takes through the whole life of a run. A new format or option joins by one entry."""

import csv
import gzip
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]  # columns of one row; "label" a text, or a list of texts where a world has several labels

SUBJECTS = {
    "cooking": "boil rice bake loaf salt soup roast garlic whisk eggs",
    "sailing": "hoist sail steer wind tie rope drop anchor watch tide",
    "chess": "castle king trade queens push pawn pin knight offer draw",
}


@dataclass(frozen=True)
class World:
    """A data set, how it is written and which options read it.

    rows: of the file `train`, in file order; test: of a test file of its own; num_skipped: rows or files in them that are no text
    """

    write: Callable[[Path, Sequence[Row]], None]
    rows: list[Row]
    name: str = "rows.jsonl"
    data: Row = field(default_factory=dict)
    options: Row = field(default_factory=dict)
    test: list[Row] | None = None
    num_skipped: int = 0
    splits: tuple[str, ...] = ("train", "valid", "test")
    keeps_texts: bool = True  # whether predictions.jsonl shows the very texts of the rows

    @property
    def fields(self) -> list[str]:
        return list(self.data.get("fields", ["text"]))

    @property
    def is_multi_label(self) -> bool:
        return bool(self.data.get("multi_label", False))

    def set_up(self, folder: Path) -> None:
        """Write the files and the config `c.yaml`, which is JSON and so YAML, too."""
        self.write(folder / self.name, self.rows)
        data = {"name": "files", "train": self.name, "fields": ["text"], **self.data}
        if self.test is not None:
            self.write(folder / f"test-{self.name}", self.test)
            data["test"] = f"test-{self.name}"
        config = {
            "agent": "classification",
            "num_threads": 1,
            "data": data,
            "model": {"name": "bag_of_embeddings", "embedding_size": 8},
            "optimizer": {"name": "Adagrad", "lr": 0.3},
            "train": {"num_epochs": 4, "batch_size": 8, "log_every": 1, "save_every": "2 steps"},
        }
        (folder / "c.yaml").write_text(json.dumps(config | self.options))


def texts(num: int, subjects: Sequence[str] = tuple(SUBJECTS)) -> list[Row]:
    """Distinct short texts, the labels in turn."""
    rows = []
    for i in range(num):
        label = subjects[i % len(subjects)]
        words = SUBJECTS[label].split()
        rows.append({"text": f"{words[i % 10]} {words[i // 3 % 10]} {words[i // 7 % 10]} number {i}", "label": label})
    return rows


def jsonl(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def delimited(delimiter: str = ",", encoding: str = "utf-8", has_header: bool = True) -> Callable[..., None]:
    def write(path: Path, rows: Sequence[Row]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        if has_header:
            writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode(encoding)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)

    return write


def parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow
    from pyarrow import parquet as library

    library.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def folder(path: Path, rows: Sequence[Row]) -> None:
    """A folder per class, every second text in a folder of its own, beside what is no text."""
    for i, row in enumerate(rows):
        home = path / row["label"] / ("2024" if i % 2 else "")
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{i:03}.txt").write_text(row["text"])
    (path / "README.md").write_text("where the texts come from")
    (path / "chess" / ".DS_Store").write_text("hidden")


def in_folder_order(rows: list[Row]) -> list[Row]:
    """As the program sorts a folder's files: by their paths."""
    paths = {(row["label"], *(("2024",) if i % 2 else ()), f"{i:03}.txt"): row for i, row in enumerate(rows)}
    return [paths[key] for key in sorted(paths)]


def labelled_lines(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(f"__label__{row['label']} {row['text']}\n" for row in rows))


def file_per_class(path: Path, rows: Sequence[Row]) -> None:
    path.mkdir()
    for name in SUBJECTS:
        lines = [row["text"] for row in rows if row["label"] == name]
        (path / f"{name}.txt").write_text("\n".join(lines) + "\n")


CHINESE = {"吃": "米饭煮汤面包烤蒜鸡蛋", "海": "帆风绳锚潮水船舵浪岛", "棋": "王后兵马象车和局将军"}


def chinese(num: int) -> list[Row]:
    rows = []
    for i in range(num):
        label = list(CHINESE)[i % 3]
        signs = CHINESE[label]
        rows.append({"text": "".join(signs[(i * k + k) % 10] for k in (1, 3, 7, 9)) + f"第{i}句。", "label": label})
    return rows


def decomposed(num: int) -> list[Row]:
    """Accents composed in every second row and decomposed in the others, as macOS writes them."""
    rows = texts(num)
    accents = str.maketrans("aeiou", "äéîöü")
    return [
        row | {"text": unicodedata.normalize("NFD" if i % 2 else "NFC", row["text"].translate(accents))}
        for i, row in enumerate(rows)
    ]


def many_classes(num_classes: int, rows_each: int) -> list[Row]:
    return [
        {"text": f"word{c} again{c} number {k} of {c}", "label": f"class {c:04}"}
        for k in range(rows_each)
        for c in range(num_classes)
    ]


def label_sets(num: int) -> list[Row]:
    """Any number of labels, in every eighth row none."""
    names, rows = list(SUBJECTS), []
    for i in range(num):
        chosen = [name for k, name in enumerate(names) if i >> k & 1]
        words = [SUBJECTS[name].split()[(i + k) % 10] for name in chosen for k in range(3)]
        rows.append({"text": " ".join([*words, "number", str(i)]), "label": chosen})
    return rows


def pairs(num: int) -> list[Row]:
    rows = texts(num)
    return [
        {"first": row["text"], "second": rows[(i + 1 + i % 2) % num]["text"], "label": "yes" if i % 2 else "no"}
        for i, row in enumerate(rows)
    ]


BERT = {
    "model": {"name": "bert", "hidden_size": 16, "num_layers": 1, "num_heads": 2, "intermediate_size": 16},
    "tokenizer": {"name": "wordpiece", "vocab_size": 400, "special_tokens": True},
    "optimizer": {"name": "AdamW", "lr": 0.003},
}
SIXTY = texts(60)

WORLDS: dict[str, World] = {
    "csv": World(delimited(), SIXTY, "rows.csv"),
    "csv in gzip": World(delimited(), SIXTY, "rows.csv.gz"),
    "tsv": World(delimited("\t"), SIXTY, "rows.tsv"),
    "semicolons": World(delimited(";"), SIXTY, "rows.csv", {"delimiter": ";"}),
    "json lines": World(jsonl, SIXTY),
    "parquet": World(parquet, SIXTY, "rows.parquet"),
    "a folder per class": World(folder, in_folder_order(SIXTY), "rows", num_skipped=2),
    "labelled lines": World(labelled_lines, SIXTY, "rows.txt", {"format": "labelled_lines"}),
    "a file per class": World(
        file_per_class, sorted(SIXTY, key=lambda row: row["label"]), "rows", {"format": "file_per_class"}
    ),
    "headerless": World(delimited(has_header=False), SIXTY, "rows.csv", {"columns": ["text", "label"]}),
    "latin-1": World(
        delimited(encoding="latin-1"), [row | {"text": f"café {row['text']}"} for row in SIXTY], "rows.csv",
        {"encoding": "latin-1"},
    ),
    "id column": World(
        delimited(), [{"key": f"k{i}", **row} for i, row in enumerate(SIXTY)], "rows.csv", {"id": "key"}
    ),
    "several fields": World(
        jsonl, [row | {"title": f"on {row['label']}s {i}"} for i, row in enumerate(SIXTY)],
        data={"fields": ["title", "text"]},
    ),
    "joined fields": World(
        jsonl, [row | {"title": f"note {i}"} for i, row in enumerate(SIXTY)],
        data={"fields": ["title", "text"], "join_fields": True},
    ),
    "pairs": World(jsonl, pairs(60), data={"fields": ["first", "second"], "pair": True, "max_length": 40}, options=BERT),
    "exported": World(jsonl, SIXTY, data={"max_length": 16}, options=BERT),
    "windows": World(jsonl, SIXTY, data={"max_length": 3, "long_texts": "windows", "stride": 1}),
    "chinese": World(jsonl, chinese(60)),
    "decomposed accents": World(jsonl, decomposed(60)),
    "several labels": World(jsonl, label_sets(80), data={"multi_label": True}),
    "several labels as positions": World(
        jsonl,
        [row | {"label": [int(name in row["label"]) for name in SUBJECTS]} for row in label_sets(80)],
        data={"multi_label": True, "label_names": list(SUBJECTS)},
    ),
    "several labels in a cell": World(
        delimited(), [row | {"label": str(row["label"])} for row in label_sets(80)], "rows.csv", {"multi_label": True}
    ),
    "3 rows a class": World(jsonl, many_classes(40, 3)),
    "no test split": World(jsonl, SIXTY, data={"split": [0.8, 0.2, 0.0]}, splits=("train", "valid")),
    "no validation split": World(jsonl, SIXTY, data={"split": [0.8, 0.0, 0.2]}, splits=("train", "test")),
    "training alone": World(jsonl, SIXTY, data={"split": [1, 0, 0]}, splits=("train",)),
    "one class missing in test": World(jsonl, SIXTY, test=texts(20, ["cooking", "chess"])),
    "1,100 classes": World(jsonl, many_classes(1100, 3), options={"train": {"num_epochs": 1, "save_every": "40 steps"}}),
}  # fmt: skip
