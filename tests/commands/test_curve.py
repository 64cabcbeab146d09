"""`curve` on real small runs: nested training sets, the same test rows, resuming, unfinished runs, every form, bad input."""

import contextlib
import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from conftest import TINY_CONFIG, Run, tiny_rows, write_jsonl

from main import main
from utils.runs.launching import JobFailed, Queue

BAG = TINY_CONFIG.replace("name: bilstm", "name: bag_of_embeddings").replace("  hidden_size: 12\n", "")
SIZES = ["--sizes", "12,24,48", "--seeds", "2"]
started: list[str] = []


def run_here(queue: Queue, environments: Sequence[Mapping[str, str]]) -> None:
    """In place of processes, which take seconds each."""
    for job in queue.waiting:
        started.append(job.name)
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(list(job.words))
        if code:
            raise JobFailed(f"{job.name} ended with exit code {code}", code)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of three sizes and two seeds of a bag of embeddings, on one file that is split."""
    folder = tmp_path_factory.mktemp("curve")
    write_jsonl(folder / "tiny.jsonl", tiny_rows())
    (folder / "bag.yaml").write_text(BAG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("utils.runs.launching.run_all", run_here)
        assert main(["curve", "bag.yaml", *SIZES]) == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to change."""
    shutil.copytree(trained, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("utils.runs.launching.run_all", run_here)
    started.clear()
    return tmp_path / "work"


def output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["curve", "bag.yaml", *words]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def values_of(place: Path, size: int, metric: str = "accuracy") -> list[float]:
    reports = [place / f"experiments/bag-n{size}-seed{seed}/report.json" for seed in (1, 2)]
    return [json.loads(path.read_text())["test"][metric] for path in reports]


def test_the_curve_is_that_of_the_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = output(capsys, *SIZES, "--format", "json")
    found = json.loads(out)
    assert [point["size"] for point in found["sizes"]] == [12, 24, 48]
    assert [point["values"] for point in found["sizes"]] == [values_of(place, size) for size in (12, 24, 48)]
    assert [point["size"] for point in found["predicted"]] == [96, 192]
    assert all(point["low"] <= point["value"] <= point["high"] for point in found["predicted"])
    assert found["size_for_one_more_step"]["step"] == 0.01
    assert found["num_test_rows"] == 24
    rows = [(place / f"experiments/bag-n{size}-seed1/predictions.jsonl").read_text().splitlines() for size in (12, 48)]
    assert [json.loads(line)["id"] for line in rows[0]] == [json.loads(line)["id"] for line in rows[1]]
    used = [
        json.loads((place / f"experiments/bag-n{n}-seed2/report.json").read_text())["data"]["train"]["used"]
        for n in (12, 24)
    ]
    assert used == [12, 24]


def test_the_same_command_resumes_what_is_missing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = values_of(place, 24)
    shutil.rmtree(place / "experiments/bag-n24-seed2")
    out, err = output(capsys, *SIZES)
    assert values_of(place, 24) == before
    assert err.count("is finished; its report") == 5
    assert "95%" in out


def test_a_failure_shows_what_there_is(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "experiments/bag-n24-seed2/report.json").unlink()
    shutil.rmtree(place / "experiments/bag-n48-seed2")

    def fail(*_: object) -> None:
        raise JobFailed("bag-n24-seed2 ended with exit code 5: the disk is full; 1 not started", 5)

    monkeypatch.setattr("utils.runs.launching.run_all", fail)
    out, err = output(capsys, *SIZES, code=5)
    assert out.count("1 of 2") == 2
    assert "bag-n24-seed2: no report yet; logged up to step 4" in out
    assert "bag-n48-seed2: not started" in out
    assert err.splitlines()[-1] == "bag-n24-seed2 ended with exit code 5: the disk is full; 1 not started"
    shutil.rmtree(place / "experiments")
    assert output(capsys, *SIZES, code=5)[0] == ""


def test_a_damaged_run_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "experiments/bag-n24-seed2/config.yaml").write_text("seed: 7\n")
    out, err = output(capsys, *SIZES, code=4)
    assert "bag-n24-seed2: experiments/bag-n24-seed2/config.yaml: is damaged" in out
    assert err.splitlines()[-1] == "bag-n24-seed2 ended with exit code 4"


def test_two_sizes_are_a_table_without_a_law(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = output(capsys, "--sizes", "12,24", "--seeds", "2")
    assert "not extrapolated: that needs 3 sizes, 2 measured" in out
    assert "predicted" not in out
    output(capsys, "--sizes", "12,24", "--seeds", "2", "--output", "two.svg")
    ElementTree.parse("two.svg")


def test_a_loss_is_counted_in_its_own_unit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = output(capsys, *SIZES, "--metric", "loss")
    step = sum(values_of(place, 48, "loss")) / 2 / 100
    assert f"{step:.4f} (loss) less than the fitted curve has at 48 rows" in out


@pytest.mark.parametrize("name", ["curve.svg", "curve.html"])
def test_a_picture_is_whole(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    output(capsys, *SIZES, "--output", name)
    text = Path(name).read_text()
    svg = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert len(svg.findall(".//{*}circle")) == 6
    assert len(svg.findall(".//{*}polygon")) == 2
    assert name.endswith("svg") or "<td>48</td>" in text


BAD: list[tuple[list[str], str]] = [
    (["--sizes", "12,24,80"], "--sizes: the training split has 72 rows, got 80"),
    (["--sizes", "24,12"], "--sizes must be increasing numbers of rows, such as 100,300,1000, got '24,12'"),
    (["--sizes", "12,12"], "got '12,12'"),
    (["--sizes", "0,12"], "got '0,12'"),
    (["--sizes", "12,many"], "got '12,many'"),
    (["--sizes", "12", "--seeds", "x"], "--seeds must be a number of seeds"),
    (["--sizes", "12", "--metric", "acuracy"], "there is no metric 'acuracy'; known: loss, accuracy"),
    (["--sizes", "12", "--output", "curve.png"], "--output must end in .svg or .html, got 'curve.png'"),
    (["--sizes", "12", "seed=3"], "seed=3: curve sets this option"),
    (["--sizes", "12", "data.train_limit=3"], "data.train_limit=3: curve sets this option"),
    (["--sizes", "12", "model.poolin=max"], "did you mean pooling?"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_is_one_line(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    _, err = output(capsys, *words, code=2)
    assert message in err.splitlines()[-1]
    assert not started


def test_a_task_without_rows_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"a line of text number {i}\n" for i in range(50))
    Path("a.txt").write_text(lines)
    Path("pre.yaml").write_text(
        "agent: pretraining\ndata: {name: documents, train: a.txt, valid: a.txt}\nmodel: {name: bert}\n"
    )
    assert main(["curve", "pre.yaml", "--sizes", "1,2,3"]) == 2
    assert "curve: agent: pretraining has no data.train_limit" in capsys.readouterr().err


@pytest.mark.full
def test_each_run_is_a_process(run: Run, workplace: Path) -> None:
    (workplace / "bag.yaml").write_text(BAG)
    done = run("curve", "bag.yaml", "--sizes", "12,24,48", "--seeds", "1", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "about" in done.stdout or "not with any" in done.stdout or "perhaps never" in done.stdout
    assert sorted(path.name for path in Path("experiments").glob("[!.]*")) == [f"bag-n{n}-seed1" for n in (12, 24, 48)]


def test_runs_of_another_config_are_in_no_curve(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = output(capsys, "--sizes", "6,12,24,48", "--seeds", "2", "name=bag", "optimizer.lr=0.5", code=2)
    assert "bag-n12-seed1: a run of another config" in out
    assert "not extrapolated: that needs 3 sizes, 1 measured" in out
    assert "ended with exit code 2" in err.splitlines()[-1]


def test_runs_on_changed_data_are_in_no_curve(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tiny_rows()
    write_jsonl(place / "tiny.jsonl", [*rows, rows[0] | {"text": "bake the bread and boil the rice"}])
    out, _ = output(capsys, "--sizes", "6,12", "--seeds", "2")
    assert "bag-n12-seed1: a run of another config, or on other data" in out
    assert "bag-n6-seed1" not in out
    write_jsonl(place / "tiny.jsonl", [*rows, rows[1] | {"text": "bake the rice"}])
    out, err = output(capsys, "--sizes", "12,24", "--seeds", "2", code=4)  # all have finished, on other data
    assert out == ""
    assert "curve: no run of this config on the files as they are now" in err.splitlines()[-1]
