"""Every exercise plants what its graders catch, and no change of a learner's is ever lost."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import IS_FULL, ROOT

from agents import checked_config
from exercises.exercise import ACTIONS, Exercise, exercises

ALL = exercises()
QUICK = (3, 19, 2)  # whose graders need no torch
COMMIT = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.autocrlf=false", "commit", "-qm", "x"]


def commit(tree: Path) -> None:
    for words in (["init", "-q"], ["add", "."], COMMIT):
        subprocess.run(["git", *words], cwd=tree, check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in a repository of its own, without what the graders do not need."""
    tree = tmp_path_factory.mktemp("tree") / "copy"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "data", "experiments", "*.png"))
    (tree / ".gitignore").write_text("__pycache__\n")
    commit(tree)
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The exercises and the files that they change, in a repository of their own."""
    for name in {"exercises/exercise.py", *(each.file for each in ALL.values())}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in (ROOT / "exercises").glob("*/*.toml"):
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    commit(tmp_path)
    return tmp_path


def call(tree: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "exercises/exercise.py", *map(str, words)]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def refused(tree: Path, *words: object) -> str:
    """The one line with which the words are refused."""
    found = call(tree, *words)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1), found
    return found.stderr


def test_there_are_twenty_in_order_half_of_them_bugs() -> None:
    assert list(ALL) == list(range(1, 21))
    assert [each.kind for each in ALL.values()].count("bug") == [each.kind for each in ALL.values()].count("hole") == 10
    assert {each.level for each in ALL.values()} == {1, 2, 3}


@pytest.mark.parametrize("exercise", ALL.values(), ids=lambda each: str(each.number))
def test_its_passage_and_its_graders_are_there(exercise: Exercise) -> None:
    text = (ROOT / exercise.file).read_text()
    assert text.count(exercise.old) == 1
    assert exercise.old.endswith("\n")
    assert exercise.new.endswith("\n")
    assert (f'NotImplementedError("exercise {exercise.number}: ' in exercise.new) == (exercise.kind == "hole")
    ast.parse(text.replace(exercise.old, exercise.new))
    assert exercise.task.strip()
    assert exercise.hint.strip()
    for grader in exercise.graders:
        path, _, name = grader.partition("::")
        assert f"\ndef {name.partition('[')[0]}(" in (ROOT / path).read_text()


SOME = [n if n in QUICK else pytest.param(n, marks=pytest.mark.full) for n in ALL]


@pytest.mark.parametrize("number", SOME)
def test_the_graders_catch_it_and_the_original_comes_back(whole: Path, number: int) -> None:
    path = whole / ALL[number].file
    original = path.read_bytes()
    started = call(whole, "start", number)
    assert (started.returncode, started.stderr) == (0, "")
    assert ALL[number].task.strip() in started.stdout
    failed = call(whole, "check", number)
    assert failed.returncode == 1, failed.stdout
    for grader in ALL[number].graders:
        assert f"FAILED {grader}" in failed.stdout
    assert call(whole, "restore", number).returncode == 0
    assert path.read_bytes() == original
    if IS_FULL or number == QUICK[0]:  # the other graders have passed in the tree itself
        passed = call(whole, "check", number)
        assert (passed.returncode, passed.stdout.split(":")[0]) == (0, "passed"), passed.stdout


WRONG = {  # what one might write into the holes
    1: "        mask = np.arange(lengths.max(initial=1)) <= lengths[:, None]",
    3: "        replaced = np.where(way < self.mask, self.mask_id, np.where(way < self.random, others, ids))",
    5: "    scores = query @ key.transpose(-1, -2)",
    8: "        return torch.arange(len(self.token_index))",
    9: "    return torch.arange(attention_mask.shape[1]).flip(0).expand(attention_mask.shape)",
    12: "                    gradient = (scores / total).scatter_add_(1, own, torch.full_like(gold, smoothing - 1))",
    14: '                own["weight_decay"] = weight_decay',
    16: """        if step < self.warmup_steps:
            return step / self.warmup_steps
        return self.decay((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))""",
    19: """    n, k = len(first_right), min(int(first_right.sum()), int(second_right.sum()))
    return min(1.0, 2 * float(special.bdtr(k, n, 0.5))) if n else 1.0""",
    20: "    is_within = shares.cumsum(dim=-1) < options.top_p",
}


@pytest.mark.full
@pytest.mark.parametrize("number", [number for number, each in ALL.items() if each.kind == "hole"])
def test_a_wrong_answer_does_not_pass(whole: Path, number: int) -> None:
    path = whole / ALL[number].file
    original = path.read_text()
    path.write_text(original.replace(ALL[number].old, WRONG[number] + "\n"))
    failed = call(whole, "check", number)
    path.write_text(original)
    assert failed.returncode == 1, failed.stdout
    assert set(re.findall(r" - (\w+Error)", failed.stdout)) <= {"AssertionError"}, "it runs, and gives other values"


def test_what_a_learner_wrote_is_kept_as_a_patch(tree: Path) -> None:
    path = tree / ALL[9].file
    original = path.read_text()
    call(tree, "start", 9)
    for attempt in ("return attention_mask", "return torch.zeros(1)"):
        mine = original.replace(ALL[9].old, f"    {attempt}  # é\n")
        path.write_text(mine)
        kept = call(tree, "restore", 9).stdout.splitlines()[0].partition(": ")[2]
        assert path.read_text() == original
        subprocess.run(kept.split(), cwd=tree, check=True)
        assert path.read_text() == mine
    assert len(list((tree / ".cache/exercises").iterdir())) == 2


def test_changes_elsewhere_are_never_touched(tree: Path) -> None:
    path = tree / ALL[6].file
    original = path.read_text()
    path.write_text(original + "# mine\n")
    assert "has uncommitted changes" in refused(tree, "start", 6)
    assert "changed outside of exercise 6" in refused(tree, "restore", 6)
    assert path.read_text() == original + "# mine\n"
    path.write_text(original)
    call(tree, "start", 6)
    assert call(tree, "start", 6).stdout.startswith("already started")
    assert "uncommitted changes" in refused(tree, "start", 5), "of the same file"
    bugged = path.read_text()
    path.write_text("# mine\n" + bugged)
    assert "changed outside of exercise 6" in refused(tree, "restore", 6)
    assert path.read_text() == "# mine\n" + bugged
    path.write_text(bugged)
    assert call(tree, "restore", 6).returncode == call(tree, "restore", 6).returncode == 0
    assert path.read_text() == original


def test_a_file_that_is_not_as_expected_is_left_alone(tree: Path) -> None:
    path = tree / ALL[19].file
    path.write_text(path.read_text().replace(ALL[19].old, "    return 1.0\n"))
    subprocess.run(["git", *COMMIT, "-a"], cwd=tree, check=True)
    assert "another version of this file" in refused(tree, "start", 19)
    assert "another version of this file" in refused(tree, "restore", 19)
    (tree / ALL[1].file).unlink()
    assert "git checkout" in refused(tree, "start", 1)
    shutil.rmtree(tree / ".git")
    assert "a clone with git" in refused(tree, "start", 2)


def test_bad_words_are_one_line(tree: Path) -> None:
    for words in (["start"], ["check", 0], ["hint", 21]):
        assert "the number of an exercise, 1 to 20" in refused(tree, *words)
    assert call(tree, "start", "one").returncode == call(tree, "mend", 1).returncode == 2


def test_the_list_and_a_hint(tree: Path) -> None:
    assert [int(line.split()[0]) for line in call(tree, "list").stdout.splitlines()] == list(ALL)
    assert call(tree, "hint", 7).stdout.strip() == ALL[7].hint.strip()


def test_the_page_lists_them_and_its_links_and_commands_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/tutorials/06_exercises.md"
    text = page.read_text()
    rows = [f"| {n} | {each.title} | {each.level} | {each.kind} | [{each.file}](" for n, each in ALL.items()]
    assert [line for line in text.splitlines() if re.match(r"\| \d", line)] == [
        f"{row}../../{each.file}) |" for row, each in zip(rows, ALL.values(), strict=True)
    ]
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / target).exists(), target
    assert f"Exercise 6, level {ALL[6].level}: {ALL[6].title}" in text
    actions = re.findall(r"^    (?:\$ )?python exercises/exercise.py (\w+)", text, flags=re.M)
    assert set(actions) == {"list", *ACTIONS}
    monkeypatch.chdir(ROOT)
    for words in re.findall(r"`python main.py ([^`]+)`", text):
        config, *overrides = words.split()
        checked_config(config, overrides)


def test_a_file_keeps_its_permissions(tree: Path) -> None:
    path = tree / ALL[2].file
    path.chmod(0o640)
    call(tree, "start", 2)
    assert path.stat().st_mode & 0o777 == 0o640
