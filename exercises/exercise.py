"""Twenty exercises in this code base: python exercises/exercise.py list, or start, hint, check or restore and a number.

An exercise is a file exercises/STAGE/NUMBER_NAME.toml: a passage of one file of the tree, what `start` puts in its place (a planted
bug, or a hole to fill), a task, a hint, and the tests that grade it. The original is the last commit, so there is no other state,
and `git diff` shows the solution. docs/tutorials/06_exercises.md is the page for learners.

Exit codes: 0 done, or passed; 1 not passed; 2 usage, or a file that is not as expected, which is then left as it is.
"""

import argparse
import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ATTEMPTS = ROOT / ".cache" / "exercises"  # what `restore` has removed, as patches


class Refused(Exception):
    """One line for the user; nothing was changed."""


@dataclass(frozen=True)
class Exercise:
    """One exercise. old: the passage, which is in the committed file once; new: what replaces it; graders: pytest node ids."""

    number: int
    title: str
    level: int
    kind: str
    file: str
    old: str
    new: str
    task: str
    hint: str
    graders: list[str]

    def committed(self) -> str:
        """The file as it was last committed. Raises Refused without git, or where the passage is not in it once."""
        command = ["git", "show", f"HEAD:./{self.file}"]
        try:
            found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            raise Refused(f"{self.file}: git has no committed version; the exercises need a clone with git") from None
        text = found.stdout.decode()
        if text.count(self.old) != 1:
            raise Refused(
                f"{self.file}: the last commit does not hold the passage of exercise {self.number} exactly once; "
                "it belongs to another version of this file: git log shows its commits"
            )
        return text

    def current(self) -> str:
        """The file as it is. Raises Refused where it cannot be read as text."""
        try:
            return (ROOT / self.file).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{self.file}: cannot be read: {error}; git checkout {self.file} brings it back") from None


def exercises() -> dict[int, Exercise]:
    """All of them by number, in the order of a text's life."""
    paths = sorted((ROOT / "exercises").glob("*/*.toml"), key=lambda path: path.name)
    parts = [(int(path.name.partition("_")[0]), tomllib.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return {number: Exercise(number=number, **part) for number, part in parts}


def start(exercise: Exercise) -> int:
    """Plant the bug, or make the hole, and print the task."""
    text = exercise.committed()
    changed = text.replace(exercise.old, exercise.new)
    if (current := exercise.current()) == changed:
        print(f"already started: {exercise.file}\n")
    elif current != text:
        raise Refused(
            f"{exercise.file}: has uncommitted changes; commit them, git stash, or restore the exercise that made them"
        )
    else:
        write(ROOT / exercise.file, changed)
    what = "a bug is in" if exercise.kind == "bug" else "lines are missing in"
    print(f"Exercise {exercise.number}, level {exercise.level}: {exercise.title}\n{what} {exercise.file}\n")
    print(f"{exercise.task.strip()}\n\nthen: python exercises/exercise.py check {exercise.number}")
    return 0


def hint(exercise: Exercise) -> int:
    """Print the hint."""
    print(exercise.hint.strip())
    return 0


def check(exercise: Exercise) -> int:
    """Run the tests that grade it, and say whether they pass and which do not."""
    if importlib.util.find_spec("pytest") is None:
        raise Refused("pytest is not installed: pip install -r requirements-dev.txt")
    command = [sys.executable, "-m", "pytest", "--no-header", "--tb=no", "-rfEs", *exercise.graders]
    environment = os.environ | {"COLUMNS": "300"}  # or pytest cuts what a test says
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    bad = [line for line in lines if line.startswith(("FAILED ", "ERROR ", "SKIPPED "))]
    if result.returncode == 0 and not bad:
        print(
            f"passed: exercise {exercise.number}, {exercise.title}\ngit diff {exercise.file} shows what still differs"
        )
        return 0
    firsts = {re.split(r"[ \[]", line)[1]: line for line in reversed(bad)}  # of the cases of each test
    print(f"not passed: exercise {exercise.number}, {exercise.title}", *(firsts.values() or lines), sep="\n  ")
    print("in full: python -m pytest " + " ".join(f"'{grader}'" for grader in exercise.graders))
    return 1


def restore(exercise: Exercise) -> int:
    """Put the original passage back; what was written in its place is kept as a patch."""
    text, current = exercise.committed(), exercise.current()
    before, _, after = text.partition(exercise.old)
    is_elsewhere = not (current.startswith(before) and current.endswith(after))
    if is_elsewhere or len(current) < len(before) + len(after):
        raise Refused(
            f"{exercise.file}: has changed outside of exercise {exercise.number}, too; undo that (git diff shows it), or git stash"
        )
    if current not in (text, text.replace(exercise.old, exercise.new)):
        command = ["git", "diff", "--no-color", "--no-ext-diff", "HEAD", "--", exercise.file]
        patch = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        paths = (ATTEMPTS / f"{exercise.number:02}_{i}.patch" for i in itertools.count(1))
        kept = next(path for path in paths if not path.exists())
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, patch)
        print(f"what you wrote is kept: git apply {kept.relative_to(ROOT)}")
    if current != text:
        write(ROOT / exercise.file, text)
    print(f"{exercise.file} is as it was committed")
    return 0


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the permissions that it has."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(mode)
    Path(file.name).replace(path)


ACTIONS = {"start": start, "hint": hint, "check": check, "restore": restore}


def main(arguments: list[str]) -> int:
    """Run an action; -> the exit code."""
    parser = argparse.ArgumentParser(prog="python exercises/exercise.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["list", *ACTIONS])
    parser.add_argument("number", type=int, nargs="?", help="of the exercise; list needs none")
    options, known = parser.parse_args(arguments), exercises()
    if options.action == "list":
        for number, each in known.items():
            print(f"{number:2}  level {each.level}  {each.kind:4}  {each.file:40}  {each.title}")
        return 0
    try:
        if options.number not in known:
            given = "no number" if options.number is None else options.number
            raise Refused(f"command line: give the number of an exercise, 1 to {len(known)}, got {given}")
        return ACTIONS[options.action](known[options.number])
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
