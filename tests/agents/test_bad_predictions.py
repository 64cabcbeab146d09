"""Bad input to a trained run (failure catalogue, D63, D76, D84, D126): refused, skipped and counted, or read as it is meant."""

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from main import main

ROWS: list[dict[str, Any]] = list(tiny_rows(6))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", tiny_rows())
        (folder / "tiny.yaml").write_text(TINY_CONFIG)
        assert main(["tiny.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(trained, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_d63_a_gold_label_that_the_run_does_not_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused also under `skip`, unlike the catalogue: a score over the rest of a foreign test set would mean nothing."""
    write_jsonl(folder / "x.jsonl", [*ROWS, ROWS[0] | {"label": "Chess"}])
    found = refusal(capsys, 3, "test", "experiments/tiny", "--data", "x.jsonl")
    assert found == "x.jsonl:7: the label 'Chess' is not a label of this run: chess, cooking, sailing"


def test_a_run_that_was_killed_at_its_data_is_not_trained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiments/new").mkdir()
    shutil.copy("experiments/tiny/config.yaml", "experiments/new")
    for words in (
        ["predict", "experiments/new", "--text", "rice"],
        ["test", "experiments/new"],
        ["export", "experiments/new"],
    ):
        found = refusal(capsys, 4, *words)
        assert found == "experiments/new: has no checkpoint yet; train it first: python main.py CONFIG"


@pytest.mark.parametrize("is_pipe", [False, True], ids=["D76 a file with labels", "D84 a pipe"])
def test_labels_in_the_input_of_a_prediction_are_not_read(
    folder: Path, capsys: pytest.CaptureFixture[str], is_pipe: bool
) -> None:
    rows = [row | {"label": None} for row in ROWS]
    path = folder / "x.jsonl"
    if is_pipe:
        os.mkfifo(path)
        threading.Thread(target=write_jsonl, args=(path, rows), daemon=True).start()
    else:
        write_jsonl(path, rows)
    capsys.readouterr()
    assert main(["predict", "experiments/tiny", "--input", "x.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert "6 rows read = 6 predicted + 0 skipped" in err


def swap_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["words"][3], values["words"][9] = values["words"][9], values["words"][3]
    path.write_text(json.dumps(values))


def swap_labels(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps(["cooking", "chess", "sailing"]))


@pytest.mark.parametrize(("name", "swap"), [("tokenizer.json", swap_words), ("labels.json", swap_labels)])
def test_d126_a_vocabulary_or_labels_of_another_run_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, swap: Any
) -> None:
    swap(folder / "experiments" / "tiny")
    for words in (["predict", "experiments/tiny", "--text", "boil the rice"], ["test", "experiments/tiny"]):
        found = refusal(capsys, 4, *words)
        assert found.startswith(f"experiments/tiny/{name}: is not the one that experiments/tiny/checkpoints/step-")


@pytest.mark.parametrize("rows", [[], [ROWS[0] | {"text": " ", "title": ""}]], ids=["no row", "none that can be used"])
def test_a_file_without_a_row_to_test_on_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, str]]
) -> None:
    write_jsonl(folder / "x.jsonl", rows)
    found = refusal(capsys, 3, "test", "experiments/tiny", "--data", "x.jsonl", "--on-bad-row", "skip")
    counts = "1 rows read = 0 used + 1 skipped (1 no text)" if rows else "0 rows read = 0 used + 0 skipped"
    assert found == f"x.jsonl: has no rows to test on; {counts}"
