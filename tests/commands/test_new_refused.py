"""A name or place that `new` refuses, and an end while it writes, leave the tree as it was."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree_copies import contents, copied

from commands import new
from main import main
from utils.errors import Stopped
from utils.files import storage

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy that `new` takes for its own, the same for all tests that leave it as it was."""
    folder = copied(tmp_path_factory.mktemp("refused") / "tree")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(new, "ROOT", folder)
        yield folder


def refused(folder: Path, capsys: Captured, *words: str) -> str:
    """The one line on stderr of a refusal, which leaves the tree as it was."""
    before = contents(folder)
    assert main(["new", *words]) == 2
    assert contents(folder) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


BAD_NAMES = [
    "TextCnn",
    "text-cnn",
    "2d",
    "a b",
    "a/b",
    "../a",
    "x",
    "a__b",
    "a_",
    "_a",
    "naïve",
    "a" * 31,
    "class",
    "null",
    "true",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(tree: Path, capsys: Captured, name: str) -> None:
    assert refused(tree, capsys, "model", name).startswith("new: NAME must ")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (
            "model",
            "text_classifier",
            "graphs/models/text_classifier.py exists; choose another name than text_classifier",
        ),
        ("model", "boe", "configs/boe.yaml exists"),
        ("model", "board", "tests/commands/test_board.py exists"),
        ("model", "classification", "AGENTS in agents/__init__.py has an entry classification"),
        ("agent", "bag_of_embeddings", "ENCODERS in graphs/models/__init__.py has an entry bag_of_embeddings"),
        ("agent", "running", "agents/running exists"),
        ("agent", "base", "agents/base.py exists"),
        ("loss", "cross_entropy", "graphs/losses/cross_entropy.py exists"),
        ("dataset", "parallel", "datasets/sources/parallel.py exists"),
        ("metric", "accuracy", "METRICS in utils/metrics/label_counts.py has an entry accuracy"),
        ("metric", "ece", "SCORES in utils/metrics/scores.py has an entry ece"),
        ("metric", "loss", "loss has a meaning"),
        ("metric", "ratio", "ratio has a meaning"),
        ("metric", "sum", "sum has a meaning"),
        ("command", "find_lr", "commands/find_lr.py exists"),
        ("command", "train", "commands/train.py exists"),
        ("command", "print", "print has a meaning"),
        ("experiment", "bert", "configs/bert.yaml exists"),
    ],
)
def test_a_name_that_is_taken_is_refused(tree: Path, capsys: Captured, kind: str, name: str, words: str) -> None:
    assert words in refused(tree, capsys, kind, name)


@pytest.mark.parametrize(
    "path", ["experiments/mine", "graphs/losses/mine", "tests/agents/test_mine.py", "configs/mine.yaml"]
)
def test_a_name_of_a_run_or_a_file_is_refused(tree: Path, capsys: Captured, path: str) -> None:
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).touch()
    assert refused(tree, capsys, "loss", "mine") == f"new: {path} exists; choose another name than mine"
    (tree / path).unlink()


@pytest.mark.parametrize(
    ("text", "reason"), [("", "there is no table LOSSES"), ("x = (", "never closed"), ("\xff", "can't decode")]
)
def test_a_table_that_was_changed_is_refused(tree: Path, capsys: Captured, text: str, reason: str) -> None:
    path = tree / "graphs/losses/__init__.py"
    old = path.read_bytes()
    path.write_bytes(text.encode("latin-1"))
    line = refused(tree, capsys, "loss", "mine")
    assert line.startswith("new: graphs/losses/__init__.py takes no new entry: ")
    assert reason in line
    path.write_bytes(old)


def test_another_folder_is_refused(
    tree: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "configs/boe.yaml").rename(tmp_path / "boe.yaml")
    assert (
        refused(tree, capsys, "loss", "mine")
        == f"new: {tree} is no checkout of the repository: configs/boe.yaml is missing"
    )
    (tmp_path / "boe.yaml").rename(tree / "configs/boe.yaml")
    monkeypatch.chdir(tmp_path)
    line = f"new: it adds to the folder of main.py; start it in {tree}, not in {tmp_path}"
    assert refused(tree, capsys, "loss", "mine") == line


def test_an_unknown_kind_is_refused(tree: Path, capsys: Captured) -> None:
    assert main(["new", "modell", "mine"]) == 2
    assert "invalid choice: 'modell'" in capsys.readouterr().err


ENDS = {"disk": OSError(errno.EROFS, "Read-only file system"), "signal": Stopped("stopped", 15)}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("place", "num_calls"), [("write_synced", 7), ("replace", 5)])
def test_an_end_at_any_file_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, place: str, num_calls: int, end: str
) -> None:
    """Before the n-th file is written, or gets its name: five are written, and two more hold the old tables."""
    tree = copied(tmp_path / "tree")
    monkeypatch.chdir(tree)
    monkeypatch.setattr(new, "ROOT", tree)
    before, original = contents(tree), {"write_synced": storage.write_synced, "replace": Path.replace}[place]
    for number in range(num_calls):
        calls: list[object] = []

        def fail(*arguments: object, calls: list[object] = calls, number: int = number) -> object:
            calls.append(arguments)
            if len(calls) == number + 1:
                raise ENDS[end]
            return original(*arguments)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(new if place == "write_synced" else Path, place, fail)
            assert main(["new", "loss", "mine"]) == {"disk": 5, "signal": 143}[end]
        assert contents(tree) == before
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["new", "loss", "mine"]) == 0
    assert len(contents(tree).keys() - before.keys()) == 3
