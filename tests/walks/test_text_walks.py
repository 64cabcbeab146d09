"""Every kind of file with text pairs through the whole life of a text-to-text run; a new format or option joins by one entry.

The scores of a report are counted again from predictions.jsonl by sacrebleu, and its texts compared with what was written.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from jobs import Job
from walking import RUN, Walk
from worlds import Row, delimited, jsonl, parquet, texts

from agents import load

SAMPLE = ["parallel files", "json lines, cut"]  # of `make test`


def pairs(num: int) -> list[Row]:
    """A recipe and its first two words; those of the parallel files are called as their endings."""
    rows = [row["text"] for row in texts(num)]
    return [{"source": text, "target": " ".join(text.split()[:2])} for text in rows]


@dataclass(frozen=True)
class TextWorld:
    """Pairs, how a split of them is written, and which options read it.

    write: (folder, name of the split, rows) -> what `data` gets for it; data: further options of the section
    """

    write: Callable[[Path, str, Sequence[Row]], Any]
    data: Row = field(default_factory=dict)
    options: Row = field(default_factory=dict)
    rows: tuple[int, int, int] = (60, 12, 12)  # of train, valid and test; 0: split off train
    num_skipped: int = 0

    def splits(self) -> dict[str, list[Row]]:
        """The rows written for each split."""
        rows, at = pairs(sum(self.rows)), 0
        found = {}
        for split, num in zip(("train", "valid", "test"), self.rows, strict=True):
            found[split], at = rows[at : at + num], at + num
        return {split: rows for split, rows in found.items() if rows}

    def set_up(self, folder: Path) -> None:
        """Write the files and the config `c.yaml`, which is JSON and so YAML, too."""
        files = {split: self.write(folder, split, rows) for split, rows in self.splits().items()}
        name = "parallel" if isinstance(files["train"], dict) else "files"
        config = {
            "agent": "seq2seq",
            "num_threads": 1,
            "data": {"name": name, "source": "source", "target": "target", "max_length": 48, **files, **self.data},
            "tokenizer": {"vocab_size": 300},
            "model": {"hidden_size": 24, "num_layers": 1, "num_heads": 2, "intermediate_size": 32, "dropout": 0},
            "generation": {"beam_size": 2, "max_length": 16},
            "optimizer": {"name": "AdamW", "lr": 0.01},
            "train": {"num_epochs": 4, "batch_size": 16, "log_every": 1, "save_every": "2 steps"},
        }
        (folder / "c.yaml").write_text(json.dumps(config | self.options))


def one_file(write: Callable[[Path, Sequence[Row]], None], ending: str) -> Callable[[Path, str, Sequence[Row]], str]:
    def written(folder: Path, split: str, rows: Sequence[Row]) -> str:
        write(folder / f"{split}.{ending}", rows)
        return f"{split}.{ending}"

    return written


def parallel(folder: Path, split: str, rows: Sequence[Row], ending: str = "") -> dict[str, str]:
    for side in ("source", "target"):
        data = "".join(f"{row[side]}\n" for row in rows).encode()
        (folder / f"{split}.{side}{ending}").write_bytes(gzip.compress(data) if ending else data)
    return {side: f"{split}.{side}{ending}" for side in ("source", "target")}


def parallel_in_gzip(folder: Path, split: str, rows: Sequence[Row]) -> dict[str, str]:
    return parallel(folder, split, rows, ".gz")


def jsonl_with_empty_targets(path: Path, rows: Sequence[Row]) -> None:
    jsonl(path, [*rows, {"source": "nothing comes of it", "target": ""}])


WORLDS = {
    "parallel files": TextWorld(parallel),
    "parallel files in gzip, split": TextWorld(parallel_in_gzip, {"split": [0.7, 0.15, 0.15]}, rows=(80, 0, 0)),
    "json lines, cut": TextWorld(
        one_file(jsonl, "jsonl"), {"split": [0.7, 0.15, 0.15], "max_length": 14, "long_pairs": "cut"}, rows=(80, 0, 0)
    ),
    "json lines with empty targets": TextWorld(
        one_file(jsonl_with_empty_targets, "jsonl"), {"on_bad_row": "skip"}, num_skipped=3
    ),
    "csv": TextWorld(one_file(delimited(), "csv")),
    "tsv in gzip": TextWorld(one_file(delimited("\t"), "tsv.gz")),
    "headerless": TextWorld(one_file(delimited("\t", has_header=False), "tsv"), {"columns": ["source", "target"]}),
    "latin-1": TextWorld(one_file(delimited(encoding="latin-1"), "csv"), {"encoding": "latin-1"}),
    "parquet": TextWorld(one_file(parquet, "parquet")),
    "a tokenizer a side": TextWorld(
        parallel, options={"target_tokenizer": {"vocab_size": 280}, "model": {"hidden_size": 24, "num_layers": 1,
        "num_heads": 2, "intermediate_size": 32, "dropout": 0, "tie_embeddings": "target", "positions": "rotary", "norm": "post"}},
    ),
    "averaged, lower-cased": TextWorld(
        parallel, options={"average": {"last": 3, "every": 2}, "tokenizer": {"vocab_size": 300, "lower": True}}
    ),
}  # fmt: skip


class TextWalk(Walk):
    """A folder with pairs, in which commands are started."""

    def write(self, name: str, sources: Sequence[str]) -> str:
        (self.folder / name).write_text("".join(f"{source}\n" for source in sources))
        return name


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[] if n in SAMPLE else pytest.mark.full) for n in WORLDS])
def walk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextWalk:
    """A run of the pairs."""
    return TextWalk(tmp_path_factory.mktemp("walk"), WORLDS[request.param]).done()


def test_the_scores_are_those_of_the_written_texts(walk: TextWalk) -> None:
    result, lines = walk.report()["test"], walk.predictions()
    texts, references = [line["predicted"] for line in lines], [line["reference"] for line in lines]
    assert len(lines) == walk.report()["data"]["test"]["used"] > 0
    assert result["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score, abs=1e-9)
    assert result["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, [references]).score, abs=1e-9)


def test_every_pair_of_the_files_is_used_or_skipped_and_counted(walk: TextWalk) -> None:
    data, written = walk.report()["data"], walk.world.splits()
    splits = [data[split] for split in ("train", "valid", "test")]
    assert sum(split["used"] for split in splits) == sum(map(len, written.values()))
    assert sum(sum(split["skipped"].values()) for split in splits) == walk.world.num_skipped
    known = {(row["source"], row["target"]) for rows in written.values() for row in rows}
    assert {(line["source"], line["reference"]) for line in walk.predictions()} <= known


def test_the_command_test_measures_what_the_training_did(walk: TextWalk) -> None:
    expected = walk.report()["test"]
    found = json.loads(walk.does("test", RUN, "--json"))
    found.pop("data")
    for name in ("loss", "nll", "perplexity"):
        assert found.pop(name) == pytest.approx(expected.pop(name), rel=1e-5)
    assert found == expected


def test_one_source_becomes_the_same_text_by_every_way(walk: TextWalk, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = walk.predictions()
    sources, expected = [line["source"] for line in lines], [line["predicted"] for line in lines]
    name = walk.write("sources.txt", sources)
    assert walk.does("generate", RUN, "--input", name).splitlines() == expected
    assert walk.does("generate", RUN, "--input", "-", stdin_from={"path": name}).splitlines() == expected
    assert walk.does("generate", RUN, "--text", sources[0]).splitlines() == expected[:1]
    monkeypatch.chdir(walk.folder)
    found = load(RUN).generate(sources)
    assert [line["predicted"] for line in found] == expected
    run = walk.command("predict", RUN, "--text", sources[0])
    assert run.wait(60) == 2
    assert "cannot predict" in run.stderr.splitlines()[-1]


def test_two_processes_measure_the_same_pairs(walk: TextWalk) -> None:
    job = Job(walk, 2, "c.yaml", "name=two")
    assert job.wait(120) == [0, 0], job.errors
    two = json.loads((walk.folder / "experiments" / "two" / "report.json").read_bytes())
    for split in ("train", "valid", "test"):
        assert two["data"][split] == walk.report()["data"][split]
    assert two["test"]["nll"] == pytest.approx(walk.report()["test"]["nll"], rel=1e-3)
