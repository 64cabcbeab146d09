"""Trained runs, and texts of many chunks, for the tests of `predict`."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from main import main

NUM_ROWS, CHUNK = 410, 16
CONFIGS = {
    "x": TINY_CONFIG,
    "several": TINY_CONFIG.replace("data:\n", "data:\n  multi_label: true\n"),
    "number": TINY_CONFIG.replace("classification", "regression").replace("data:\n", "data:\n  label: length\n"),
    "no_valid": TINY_CONFIG.replace("[0.6, 0.2, 0.2]", "[0.8, 0, 0.2]"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each of CONFIGS."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", [row | {"length": len(row["text"])} for row in tiny_rows()])
        for name, config in CONFIGS.items():
            (folder / f"{name}.yaml").write_text(config)
            assert main([f"{name}.yaml"]) == 0, name
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, with the runs and texts of many chunks in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agents.predicting.parallel.CHUNK", CHUNK)
    (tmp_path / "experiments").symlink_to(trained / "experiments")
    (tmp_path / "tiny.jsonl").symlink_to(trained / "tiny.jsonl")
    write_jsonl(tmp_path / "texts.jsonl", tiny_rows(NUM_ROWS))
    return tmp_path


def predict(capsys: pytest.CaptureFixture[str], *words: str, run: str = "x") -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["predict", f"experiments/{run}", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def answers(capsys: pytest.CaptureFixture[str], *words: str, run: str = "x") -> list[dict[str, Any]]:
    code, out, err = predict(capsys, "--input", "texts.jsonl", *words, run=run)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]
