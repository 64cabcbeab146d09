"""The tutorials do what they say: their edits are applied to a copy of the tree, and their commands run in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tree_copies import copied

PAGE = ROOT / "docs/tutorials/02_new_encoder.md"
BLOCK = re.compile(r"```\w+\n# (\S+)\n(.*?)```|^    (python [^\n]*)$", re.DOTALL | re.MULTILINE)
ENVIRONMENT = os.environ | {
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": "",
    "GLASSBOX_FULL": "0",
}


def steps(page: Path) -> list[tuple[str, str, str]]:
    """In the order of the page: (path, content, "") of a file to be written, or ("", "", command)."""
    return BLOCK.findall(page.read_text())


def shell(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    line = command.replace("python", sys.executable, 1)
    return subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=3000, shell=True)


def followed(page: Path, folder: Path, words: str) -> dict[str, str]:
    """Write the files of a page, and run those of its commands that match; -> their output."""
    outputs = {}
    for path, content, command in steps(page):
        if path:
            (folder / path).write_text(content)
        elif re.search(words, command):
            done = shell(folder, command)
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            outputs[command] = done.stdout
    return outputs


def failed_tests(folder: Path, source: str) -> set[str]:
    """The tests of all encoders that fail with this source of the new one."""
    (folder / "graphs/models/weighted_mean.py").write_text(source)
    done = shell(folder, "python -m pytest -q tests/graphs/models/test_encoders.py -k weighted_mean")
    return set(re.findall(r"^FAILED \S+::(\w+)", done.stdout, flags=re.MULTILINE))


def test_a_new_encoder_passes_its_contract(tmp_path: Path) -> None:
    folder = copied(tmp_path / "tree")
    assert len(followed(PAGE, folder, r"main\.py new|pytest")) == 2
    for words in ("check --no-cache", "format --check --no-cache"):
        done = shell(folder, f"python -m ruff {words} graphs/models tests/graphs/models")
        assert done.returncode == 0, done.stdout


@pytest.mark.full
def test_the_contract_catches_its_mistakes(tmp_path: Path) -> None:
    folder = copied(tmp_path / "tree")
    followed(PAGE, folder, r"main\.py new")
    source = (folder / "graphs/models/weighted_mean.py").read_text()
    mates = "test_batch_mates_do_not_change_the_encoding"
    masked = {"test_padding_does_not_change_the_encoding", "test_what_lies_under_padding_does_not_count", mates}
    assert failed_tests(folder, re.sub(r".*masked_fill.*\n", "", source)) == masked
    assert failed_tests(folder, source.replace("softmax(dim=-1)", "softmax(dim=0)")) == {mates}
    assert set(re.findall(r"`(test_\w+)`", PAGE.read_text())) == masked


@pytest.mark.full
def test_every_command_of_a_new_encoder_runs(tmp_path: Path) -> None:
    outputs = followed(PAGE, copied(tmp_path / "tree"), ".")
    assert len(outputs) == 9
    (compared,) = [output for command, output in outputs.items() if "main.py compare" in command]
    assert "no difference shown" in compared


def test_links_of_the_tutorials_lead_somewhere() -> None:
    for page in (ROOT / "docs/tutorials").glob("*.md"):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
