"""What a first user gets wrong, besides the data (tests/datasets/rows/test_bad_rows.py, test_bad_sets.py): one line that names the place, what was given and what is allowed; and the promised exit code."""

from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from conftest import Run, assert_refused, tiny_rows

from main import main

CSV = "title,text,label\n" + "".join(f"{r['title']},{r['text']},{r['label']}\n" for r in tiny_rows(30))


def words(*arguments: str) -> Callable[[Path], list[str]]:
    """A case that is a command line alone."""
    return lambda folder: list(arguments)


def config(text: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / "bad.yaml").write_text(text)
        return ["bad.yaml"]

    return prepare


def empty_folder(folder: Path) -> list[str]:
    (folder / "experiments" / "other").mkdir(parents=True)
    return ["test", "experiments/other"]


CASES: dict[str, tuple[Callable[[Path], list[str]], int, list[str]]] = {
    "no such config": (words("nothing.yaml"), 2, ["nothing.yaml: no such config", "tiny.yaml"]),
    "a typo in a key": (config("base: tiny.yaml\nmodel:\n  hiden_size: 3\n"), 2, ["bad.yaml:3: model.hiden_size", "did you mean hidden_size"]),
    "a typo on the command line": (words("tiny.yaml", "optimizer.lrr=1"), 2, ["command line: optimizer.lrr", "did you mean lr"]),
    "a wrong type": (words("tiny.yaml", "train.num_epochs=ten"), 2, ["command line: train.num_epochs must be a whole number, got 'ten'"]),
    "a bad value": (words("tiny.yaml", "model.dropout=1.5"), 2, ["command line: model: dropout must be in [0, 1), got 1.5"]),
    "an unknown model": (config("base: tiny.yaml\nmodel: {name: bilstmm}\n"), 2, ["bad.yaml:2: model.name: 'bilstmm' is unknown; did you mean bilstm?", "known: bag_of_embeddings, bilstm"]),
    "a model as agent": (config("base: tiny.yaml\nagent: bilstm\n"), 2, ["bad.yaml:2: agent: bilstm is a model; write agent: classification, model: {name: bilstm}"]),
    "not key=value": (words("tiny.yaml", "fresh"), 2, ["'fresh' is not key=value"]),
    "another run's folder as name": (words("tiny.yaml", "name=a/b"), 2, ["name must be one folder's name"]),
    "a folder without a run": (empty_folder, 4, ["experiments/other: holds no run"]),
    "no such run": (words("predict", "experiments/none", "--text", "a"), 4, ["experiments/none: no such folder"]),
    "init_from nothing": (words("tiny.yaml", "init_from=experiments/none"), 4, ["init_from: there is no folder experiments/none; known: the folder of a run"]),
    "a device that is not there": (words("tiny.yaml", "device=cuda:7"), 2, ["command line: device 'cuda:7' is not available"]),
    "several processes": (words("tiny.yaml"), 7, ["no RANK, MASTER_ADDR, MASTER_PORT in the environment: start several processes by torchrun"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_the_promised_exit_code(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    prepare, code, expected = CASES[name]
    if name == "several processes":
        monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(prepare(workplace)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    for word in expected:
        assert word in err.splitlines()[-1]


def test_bad_rows_are_skipped_and_counted_where_that_is_asked_for(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "x.csv").write_text(CSV + "a,b\n,,chess\na,b,\n\n")
    assert main(["tiny.yaml", "data.train=x.csv", "data.on_bad_row=skip", "train.num_epochs=1"]) == 0
    err = capsys.readouterr().err
    line = next(line for line in err.splitlines() if line.startswith("train:"))
    assert (
        line
        == "train: 22 rows read = 18 used + 4 skipped (1 2 columns instead of 3, 1 no text, 1 no label in 'label', 1 blank line)"
    )


def test_a_folder_in_use_is_refused_at_once(run: Run, workplace: Path) -> None:
    (workplace / "experiments").mkdir()
    with filelock.FileLock(workplace / "experiments" / ".tiny.lock"):
        assert_refused(run("tiny.yaml"), 5, "experiments/tiny: another process is using this run")


def test_an_unknown_option_of_the_program_is_a_usage_error(run: Run) -> None:
    assert_refused(run("tiny.yaml", "--frsh"), 2, "--frsh")
    assert run("--help").returncode == 0


def test_a_traceback_is_shown_on_demand(run: Run) -> None:
    result = run("nothing.yaml", "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
