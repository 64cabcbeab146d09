"""What the tests share: a corpus small enough for a second of training, and runs of the program as a user starts it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No database and the same examples every time: a test that fails at one start fails at the next. `make test-full` asks for more.
IS_FULL = os.environ.get("GLASSBOX_FULL") == "1"
settings.register_profile("quick", max_examples=100, deadline=None, database=None, derandomize=True)
settings.register_profile("full", settings.get_profile("quick"), max_examples=10_000)
settings.load_profile("full" if IS_FULL else "quick")
LONG = 3600  # seconds that a test may take in the long suite, where pyproject.toml's limit is too short

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

SUBJECTS = {
    "cooking": ["boil the rice", "bake a fresh loaf", "salt the soup", "roast garlic and onions", "whisk the eggs"],
    "sailing": ["hoist the sail", "steer into the wind", "tie the rope", "drop the anchor", "watch the tide"],
    "chess": ["castle the king", "trade the queens", "push a pawn", "pin the knight", "offer a draw"],
}
ENDINGS = ["slowly", "before noon", "with care", "as taught", "again", "in silence", "for an hour", "if you can"]


def tiny_rows(num_rows: int = 120) -> list[dict[str, str]]:
    """Distinct short texts with a title, three labels in turn."""
    rows = []
    for i in range(num_rows):
        label = list(SUBJECTS)[i % 3]
        phrases = SUBJECTS[label]
        title = phrases[i % len(phrases)]
        text = f"{phrases[(i // 3) % 5]} and {phrases[(i // 7) % 5]} {ENDINGS[i % 8]} number {i}"
        rows.append({"title": title, "text": text, "label": label})
    return rows


def write_jsonl(path: Path, rows: list[dict[str, object]] | list[dict[str, str]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


TINY_CONFIG = """\
agent: classification
num_threads: 1
data:
  name: files
  train: tiny.jsonl
  fields: [title, text]
  split: [0.6, 0.2, 0.2]
model:
  name: bilstm
  embedding_size: 16
  hidden_size: 12
  dropout: 0.2
head:
  hidden_sizes: [8]
  dropout: 0.1
optimizer:
  name: Adam
  lr: 0.05
train:
  num_epochs: 2
  batch_size: 16
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of the long suite its time."""
    for item in items if IS_FULL else []:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONG))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with tiny.jsonl and tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "tiny.jsonl", tiny_rows())
    (tmp_path / "tiny.yaml").write_text(TINY_CONFIG)
    return tmp_path


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(workplace: Path) -> Run:
    """Start `python main.py ARGUMENTS` in the workplace, as a user would."""

    def start(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(ROOT / "main.py"), *arguments]
        environment = os.environ | {"COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=workplace, capture_output=True, text=True, env=environment, timeout=200, **options
        )  # type: ignore[call-overload, no-any-return]

    return start


@pytest.fixture
def run_here(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """As `run`, but in this process, which spares the seconds that a new one takes to import torch."""
    from main import main

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        capsys.readouterr()
        code = main(list(arguments))
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


def assert_refused(result: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    """The promise for every bad input: the exit code, no traceback, and a last line on stderr that holds the words."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[-1], lines[-1]
