"""Copies of the tree, without its data and runs, for tests that add to it."""

import shutil
from pathlib import Path

from conftest import ROOT

IGNORED = shutil.ignore_patterns(".git", ".venv*", ".*cache", ".hypothesis", "__pycache__", "data", "experiments")


def copied(folder: Path) -> Path:
    """Copy the tree to a folder that does not exist yet."""
    shutil.copytree(ROOT, folder, ignore=IGNORED)
    (folder / "experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "README.md", folder / "experiments")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by their path."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
