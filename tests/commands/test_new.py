"""What `new` writes in a copy of the tree is linted, typed, tested and trains, as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tree_copies import contents, copied

from commands import new
from commands.templates import KINDS
from main import main

FULL = pytest.mark.full
STARTING = ("agent", "command")  # their tests start the program several times
Extended = tuple[Path, dict[str, dict[str, list[str]]]]
ENVIRONMENT = os.environ | {
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": "",
    "GLASSBOX_FULL": "0",
}


def python(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def shell(folder: Path, line: str) -> None:
    """Run a printed command that begins with `python`."""
    command = line.replace("python", sys.executable, 1)
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=3000, shell=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def sections_of(output: str) -> dict[str, list[str]]:
    """What `new` prints: the lines under each title."""
    sections: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("  "):
            sections[list(sections)[-1]].append(line.strip())
        else:
            sections[line] = []
    return sections


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """A copy with a part of each kind, named like the kind with an x, such as lossx; and what was printed for each."""
    folder = copied(tmp_path_factory.mktemp("extended") / "tree")
    return folder, {kind: sections_of(python(folder, "main.py", "new", kind, f"{kind}x")) for kind in KINDS}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that `new` in this process takes for its own."""
    folder = copied(tmp_path / "tree")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(new, "ROOT", folder)
    return folder


def test_it_says_what_it_wrote_and_how_to_go_on(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(copy)
    assert main(["new", "model", "deep_mean"]) == 0
    sections = sections_of(capsys.readouterr().out)
    after = contents(copy)
    assert set(sections["written:"]) == after.keys() - before.keys()
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"graphs/models/__init__.py"}
    assert sections["entries:"] == ["graphs/models/__init__.py: ENCODERS"]
    for line in sections["edit:"]:
        assert (copy / line.partition(":")[0]).is_file()
    assert sections["use:"] == ["python main.py configs/deep_mean.yaml"]
    assert sections["test:"] == [
        "python -m pytest tests/graphs/models/test_deep_mean.py tests/graphs/models -k deep_mean"
    ]
    assert "class DeepMean(nn.Module)" in (copy / "graphs/models/deep_mean.py").read_text()


@pytest.mark.parametrize("ending", ["x", "x_part_of_a_very_long_name_1234567"])
def test_its_code_is_linted_and_formatted_whatever_the_length_of_the_name(copy: Path, ending: str) -> None:
    before = contents(copy)
    for kind in KINDS:
        assert main(["new", kind, (kind + ending)[: new.MAX_NAME]]) == 0
    paths = [path for path, content in contents(copy).items() if before.get(path) != content and path.endswith(".py")]
    assert len(paths) > 15
    for words in (["check"], ["format", "--check"]):
        python(copy, "-m", "ruff", *words, "--no-cache", *paths)


def test_the_tests_that_it_writes_pass(extended: Extended) -> None:
    folder, printed = extended
    tests = [path for kind in KINDS if kind not in STARTING for path in printed[kind]["written:"] if "/test_" in path]
    assert len(tests) == len(KINDS) - len(STARTING)
    python(folder, "-m", "pytest", "-q", *tests)


def test_its_parts_are_listed(extended: Extended) -> None:
    folder, _ = extended
    assert "\n    commandx      a text's most probable label" in python(folder, "main.py", "--help")
    lines = python(folder, "main.py", "list").splitlines()
    lines = lines[: lines.index("metrics:")]  # of each agent once more
    for name in ("agentx", "modelx", "lossx", "datasetx"):
        assert sum(line.startswith(f"  {name}: ") for line in lines) == 1, name


@pytest.mark.parametrize("kind", ["dataset", *(pytest.param(kind, marks=FULL) for kind in KINDS if kind != "dataset")])
def test_the_commands_that_it_prints_train(extended: Extended, kind: str) -> None:
    folder, printed = extended
    for line in printed[kind]["use:"]:
        shell(folder, line)
    assert (folder / "experiments" / ("boe" if kind == "command" else f"{kind}x") / "report.json").exists()


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_command_that_it_prints_passes(extended: Extended, kind: str) -> None:
    """The test of the part, and those of all parts of its kind."""
    folder, printed = extended
    (line,) = printed[kind]["test:"]
    assert f"test_{kind}x.py" in line
    shell(folder, line)


@pytest.mark.full
def test_the_tree_keeps_its_rules_and_its_types(extended: Extended) -> None:
    folder, _ = extended
    python(folder, "-m", "pytest", "-q", "tests/test_architecture.py", "tests/commands/test_list.py")
    python(folder, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"))
