"""test and predict by several processes: each row once, in order, with the same numbers as one process."""

import json
import os
import shutil
from pathlib import Path

import pytest
import small_pairs
from conftest import tiny_rows, write_jsonl
from jobs import Job, Own
from lab import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("prediction"))
    lab.finish("bilstm", "run", "train.num_epochs=1")
    write_jsonl(lab.folder / "texts.jsonl", tiny_rows(2500))  # more than two chunks
    return lab


def output(job: Job, rank: int = 0) -> str:
    """What a process of a job has written to standard output."""
    return job.runs[rank].errors.with_suffix(".out").read_text()


def predicted(lab: Lab, size: int, *words: str) -> str:
    path = Path(f"predicted-{size}.jsonl")
    job = Job(lab, size, "predict", "experiments/run", "--input", "texts.jsonl", "--output", str(path), *words)
    assert job.wait() == [0] * size, job.errors
    assert sum("2500 rows read = 2500 predicted" in text for text in job.errors) == 1
    return (lab.folder / path).read_text()


def test_three_processes_predict_what_one_does(lab: Lab) -> None:
    one, three = predicted(lab, 1), predicted(lab, 3)
    assert len(one.splitlines()) == 2500
    assert three == one
    assert not lab.leftovers()


def test_two_processes_measure_what_one_does(lab: Lab) -> None:
    results = []
    for size in (1, 2):
        job = Job(lab, size, "test", "experiments/run", "--data", "texts.jsonl", "--json")
        assert job.wait() == [0] * size, job.errors
        results.append(json.loads(output(job)))
        assert size == 1 or output(job, 1) == ""
    assert results[1].pop("loss") == pytest.approx(results[0].pop("loss"), rel=1e-6)
    assert results[1] == results[0]


def test_one_text_is_printed_once(lab: Lab) -> None:
    job = Job(lab, 2, "predict", "experiments/run", "--text", "castle the king")
    assert job.wait() == [0, 0], job.errors
    assert len(output(job).splitlines()) == 1
    assert output(job, 1) == ""


def test_other_texts_are_refused(lab: Lab) -> None:
    other = lab.folder / "machine-2"
    other.mkdir()
    write_jsonl(other / "texts.jsonl", tiny_rows(2501))
    (other / "experiments").symlink_to(lab.folder / "experiments")
    words = ["predict", "experiments/run", "--input", "texts.jsonl", "--output", "mixed.jsonl"]
    job = Job(lab, 2, *words, own={1: Own(folder=other)})
    assert {7} <= set(job.wait()) <= {7, 143}, job.errors
    assert "rank 1: texts.jsonl is " in job.causes[0]
    assert not (lab.folder / "mixed.jsonl").exists()


def test_other_weights_are_refused(lab: Lab) -> None:
    lab.finish("bilstm", "other", "train.num_epochs=1", "seed=5")
    other = lab.folder / "machine-3"
    shutil.copytree(lab.path("other"), other / "experiments" / "run")
    shutil.copy(lab.path("run") / "config.yaml", other / "experiments" / "run")
    job = Job(lab, 2, "test", "experiments/run", "--data", str(lab.folder / "texts.jsonl"), own={1: Own(folder=other)})
    assert {7} <= set(job.wait()) <= {7, 143}, job.errors
    assert "rank 1: the checkpoint is " in job.causes[0]


def test_a_pipe_is_refused(lab: Lab) -> None:
    os.mkfifo(lab.folder / "pipe.jsonl")
    job = Job(lab, 2, "predict", "experiments/run", "--input", "pipe.jsonl")
    assert {7} <= set(job.wait()) <= {7, 143}, job.errors
    assert "pipe.jsonl: is not a regular file, and 2 processes read it; give a file" in job.causes[0]


def test_standard_input_is_refused(lab: Lab) -> None:
    job = Job(lab, 2, "predict", "experiments/run", "--input", "-")
    assert {7} <= set(job.wait()) <= {7, 143}
    assert "--input - is read by one process; give a file" in job.causes[0]


def test_a_bad_row_is_said_once(lab: Lab) -> None:
    with (lab.folder / "bad.jsonl").open("w") as file:
        file.write((lab.folder / "texts.jsonl").read_text() + "{\n")
    job = Job(lab, 2, "predict", "experiments/run", "--input", "bad.jsonl", "--output", "bad.out")
    assert {3} <= set(job.wait()) <= {3, 143}
    assert len(job.causes) == 1
    assert "bad.jsonl:2501" in job.causes[0]
    assert not (lab.folder / "bad.out").exists()


def test_skipped_rows_have_their_lines_in_order(lab: Lab) -> None:
    """Chunks of nothing but bad rows, and of some, each by one process or the other."""
    rows = [row | {"text": ""} if 1000 < i < 2100 or i % 7 == 0 else row for i, row in enumerate(tiny_rows(2500))]
    write_jsonl(lab.folder / "gaps.jsonl", [row | {"title": row["title"] if row["text"] else " "} for row in rows])
    found = []
    for size in (1, 2):
        words = ["--input", "gaps.jsonl", "--output", f"gaps-{size}.out", "--on-bad-row", "skip"]
        job = Job(lab, size, "predict", "experiments/run", *words)
        assert job.wait() == [0] * size, job.errors
        num_bad = sum(not row["text"] for row in rows)
        assert sum(f"= {2500 - num_bad} predicted + {num_bad} skipped" in text for text in job.errors) == 1
        found.append((lab.folder / f"gaps-{size}.out").read_text())
    lines = [json.loads(line) for line in found[0].splitlines()]
    assert [line["id"] for line in lines] == [f"gaps.jsonl:{i}" for i in range(1, 2501)]
    assert [line["predicted"] is None for line in lines] == [not row["text"] for row in rows]
    assert found[1] == found[0]


def test_two_processes_write_what_one_does(lab: Lab) -> None:
    (lab.folder / "pairs.yaml").write_text(small_pairs.CONFIG)
    run = lab.command("pairs.yaml", "train.num_epochs=1", "data.cache_folder=.cache-shared")
    assert run.wait() == 0, run.stderr
    (lab.folder / "sources.txt").write_text("".join(f"{row['text']}\n" for row in tiny_rows(1300)))  # more than a chunk
    for words in (["--beam-size", "2"], ["--sample", "--seed", "3"]):
        written = []
        for size in (1, 2):
            path = f"written-{size}.txt"
            more = ["--input", "sources.txt", "--output", path, "--max-length", "6", *words]
            job = Job(lab, size, "generate", "experiments/pairs", *more)
            assert job.wait() == [0] * size, job.errors
            written.append((lab.folder / path).read_text())
        assert written[0] == written[1]
        assert len(written[0].splitlines()) == 1300


ANSWERS = ["--calibrate", "--top-k", "2", "--abstain-below", "0.5", "--coverage", "0.8"]


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.csv"])
def test_options_of_answers_are_those_of_one_process(lab: Lab, name: str) -> None:
    """The first time the calibration is made, by the first of two processes; then both read it."""
    (lab.path("run") / "calibration.json").unlink(missing_ok=True)
    found = []
    for size in (2, 1):
        words = ["--input", "texts.jsonl", "--output", f"{size}-{name}", *ANSWERS]
        job = Job(lab, size, "predict", "experiments/run", *words)
        assert job.wait() == [0] * size, job.errors
        for line in ("temperature", "abstained from", "80% coverage, sets of "):
            assert sum(line in text for text in job.errors) == 1, job.errors
        found.append((lab.folder / f"{size}-{name}").read_text())
    assert found[0] == found[1]


def test_two_processes_go_on_from_what_is_there(lab: Lab) -> None:
    rows = tiny_rows(2500)
    (lab.folder / "going.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    words = ["predict", "experiments/run", "--input", "going.jsonl", "--output", "going.out"]
    job = Job(lab, 1, *words)
    assert job.wait() == [3]
    lines = lab.folder / "going.out.partial" / "lines.jsonl"
    assert len(lines.read_text().splitlines()) == 2048
    write_jsonl(lab.folder / "going.jsonl", rows)
    job = Job(lab, 2, *words, "--resume")
    assert job.wait() == [0, 0], job.errors
    one = Job(lab, 1, *words[:-1], "whole.out")
    assert one.wait() == [0]
    assert (lab.folder / "going.out").read_text() == (lab.folder / "whole.out").read_text()
    assert not lines.parent.exists()


def test_jobs_are_refused(lab: Lab) -> None:
    job = Job(lab, 2, "predict", "experiments/run", "--input", "texts.jsonl", "--jobs", "2")
    assert {7} <= set(job.wait()) <= {7, 143}
    assert "--jobs goes without torchrun, which has started processes already" in job.causes[0]
