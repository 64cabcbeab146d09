"""Print the test files of what has changed since the last commit, for `make check-fast`.

Those of a/b/c.py are test_c.py and test_c_*.py in tests/a/b, or else anywhere, and those that test every part of its folder;
without either, all of tests/a/b.
"""

import subprocess
import sys
from pathlib import Path

ALWAYS = Path("tests/test_architecture.py")
SHARED = (  # a folder or file, and what tests all that is in it
    ("README.md", "tests/test_extension.py"),
    ("README.md", "tests/agents/test_run.py"),
    ("docs/extending.md", "tests/test_extension.py"),
    ("agents", "tests/agents/test_contract.py"),
    ("graphs/models", "tests/graphs/models/test_encoders.py"),
    ("graphs/losses", "tests/graphs/losses/test_losses.py"),
    ("benchmarks", "tests/test_benchmarks.py"),
    ("commands/templates", "tests/commands/test_new.py"),
    ("exercises", "tests/tutorials/test_exercises.py"),
    ("docs/tutorials/06_exercises.md", "tests/tutorials/test_exercises.py"),
    ("main.py", "tests/test_bad_input.py"),
)


def changed(root: Path) -> set[Path]:
    """Tracked files that differ from the last commit, and new ones that git does not ignore."""
    found = set()
    for words in (["diff", "--name-only", "HEAD"], ["ls-files", "--others", "--exclude-standard"]):
        output = subprocess.run(["git", *words, "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
        found |= {Path(name) for name in output.split("\0") if name}
    return found


def tests_of(path: Path, root: Path) -> set[Path]:
    """The test files of a changed file; both relative to the root."""
    if path.name.startswith("test_"):
        return {path} if (root / path).exists() else set()
    if path.suffix not in (".py", ".md", ".txt", ".toml"):
        return set()
    folder = root / "tests" / path.parent
    patterns = (f"test_{path.stem}.py", f"test_{path.stem}_*.py")
    found = {test for pattern in patterns for test in folder.glob(pattern)}
    found = found or {test for pattern in patterns for test in (root / "tests").rglob(pattern)}
    found |= {root / test for place, test in SHARED if path == Path(place) or Path(place) in path.parents}
    if not found and path.suffix == ".py":
        found = set(folder.glob("test_*.py"))
    return {test.relative_to(root) for test in found}


def main() -> None:
    """Print them, and on stderr the files that have none."""
    root = Path()
    tests = {path: tests_of(path, root) for path in sorted(changed(root))}
    for path in [path for path, found in tests.items() if path.suffix == ".py" and not found]:
        print(f"{path}: no test is named after it; make test runs them all", file=sys.stderr)
    print(*sorted({ALWAYS}.union(*tests.values())))


if __name__ == "__main__":
    main()
