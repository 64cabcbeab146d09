"""The tutorials' files and commands, in the order of the page, in a copy of the tree: each command ends with the code that it promises."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tree_copies import copied

PAGES = sorted(
    (ROOT / "docs/tutorials").glob("0[1345]_*.md")
)  # the second: test_new_encoder.py; the sixth: test_exercises.py
QUICK = "04_own_data.md"  # in every `make test`; the others in the long suite


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of the page's fenced blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, flags=re.S | re.M)


def script(commands: str) -> str:
    """Commands for bash, each with a check of its exit code: 0, or what its comment says."""
    lines = ["set -e"]
    for line in commands.splitlines():
        command, _, comment = line.partition("  # ")
        code = re.search(r"exit code (\d+)", comment)
        lines.append(f"code=0; {command} || code=$?; test $code = {code[1]}" if code else command)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "path",
    [page if page.name == QUICK else pytest.param(page, marks=pytest.mark.full) for page in PAGES],
    ids=lambda page: page.name,
)
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")
def test_a_tutorial_does_what_it_says(path: Path, tmp_path: Path) -> None:
    copy, page = tmp_path / "copy", path.read_text()
    copied(copy)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    count = 0
    for language, content in blocks(page):
        first = content.partition("\n")[0]
        if language == "sh":
            count += 1
            ended = subprocess.run(
                ["bash", "-c", script(content)], cwd=copy, env=environment, capture_output=True, text=True, timeout=250
            )
            assert ended.returncode == 0, f"{content}\n{ended.stdout}\n{ended.stderr}"
            assert "Traceback" not in ended.stderr
        elif first.startswith("# ") and not (copy / first.removeprefix("# ")).exists():  # else it shows what is there
            (copy / first.removeprefix("# ")).write_text(content)
    assert count


def test_what_is_shown_of_the_code_stands_there() -> None:
    """A Python block that begins with the path of a file of the tree holds lines of it, with `...` where some are left out."""
    shown = [
        (first, rest)
        for page in PAGES
        for language, content in blocks(page.read_text())
        if language == "python"
        for first, _, rest in [content.partition("\n")]
    ]
    found = [
        (ROOT / first.removeprefix("# "), rest) for first, rest in shown if (ROOT / first.removeprefix("# ")).is_file()
    ]
    for path, code in found:
        text = path.read_text()
        for part in re.split(r"^ *\.\.\.\n", code, flags=re.M):
            assert part.strip("\n") in text, f"{path}: {part}"
