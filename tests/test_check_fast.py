"""`make check-fast` finds the tests of what has changed."""

import subprocess
from pathlib import Path

import check_fast
import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("datasets/rows/split.py", ["tests/datasets/rows/test_split.py"]),
        ("docs/dual_view.md", ["tests/test_dual_view.py"]),
        ("docs/results.md", []),
        ("CONTRIBUTING.md", []),
        ("README.md", ["tests/agents/test_run.py", "tests/test_extension.py"]),
        ("graphs/losses/focal.py", ["tests/graphs/losses/test_losses.py"]),
        ("graphs/models/bilstm.py", ["tests/graphs/models/test_bilstm.py", "tests/graphs/models/test_encoders.py"]),
        ("agents/running/evaluating.py", ["tests/agents/test_contract.py"]),
        ("tests/walks/test_walks.py", ["tests/walks/test_walks.py"]),
        ("tests/walks/test_removed.py", []),
        ("tests/check_fast.py", ["tests/test_check_fast.py"]),
        ("tests/conftest.py", []),
        ("configs/bilstm.yaml", []),
        ("utils/errors.py", []),
        ("commands/templates/loss/configs/NAME.yaml.txt", ["tests/commands/test_new.py"]),
        ("requirements.txt", []),
    ],
)
def test_a_file_has_its_tests(path: str, tests: list[str]) -> None:
    assert sorted(map(str, check_fast.tests_of(Path(path), ROOT))) == tests


def test_a_file_without_a_test_of_its_name_has_those_of_its_folder() -> None:
    assert Path("tests/datasets/store/test_store.py") in check_fast.tests_of(Path("datasets/store/writer.py"), ROOT)


def test_what_tests_a_whole_folder_is_there() -> None:
    assert all((ROOT / place).exists() and (ROOT / test).exists() for place, test in check_fast.SHARED)


def test_changed_removed_and_new_files_count_and_ignored_ones_do_not(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / ".gitignore").write_text("*.log\n")
    for name in ("same.py", "edited.py", "staged.py", "removed.py"):
        (tmp_path / name).write_text("")
    git("add", ".")
    git("commit", "-m", "Begin")
    for name in ("edited.py", "staged.py", "new file.py", "a.log"):
        (tmp_path / name).write_text("1")
    (tmp_path / "removed.py").unlink()
    git("add", "staged.py")
    assert sorted(map(str, check_fast.changed(tmp_path))) == ["edited.py", "new file.py", "removed.py", "staged.py"]
