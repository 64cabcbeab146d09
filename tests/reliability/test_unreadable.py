"""Places that cannot even be looked at, as in a folder of another user, and options left empty: one line and the promised code."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

import main

CONFIG = """\
agent: classification
num_threads: 1
data: {name: files, train: texts.csv, fields: [text], label: label}
model: {name: bag_of_embeddings, embedding_size: 4}
train: {num_epochs: 1}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set and its config, and a folder `locked` that the process may not look into, even if it is root's."""
    monkeypatch.chdir(tmp_path)
    rows = [f"boil the rice {i},cooking\nmove the pawn {i},chess\n" for i in range(20)]
    Path("texts.csv").write_text("text,label\n" + "".join(rows))
    Path("a.yaml").write_text(CONFIG)
    Path("locked").mkdir()
    real = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("locked/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    return tmp_path


TRAIN = ("a.yaml", "name=new")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("test", "locked/run"), 5, "locked/run: cannot be read now"),
        (("predict", "locked/run", "--text", "rice"), 5, "locked/run: cannot be read now"),
        (("export", "locked/run"), 5, "locked/run: cannot be read now"),
        (("prepare", "papers", "--source", "locked/papers", "--out", "new"), 3, "locked/papers: cannot be read"),
        ((*TRAIN, "data.train=locked/texts.csv"), 3, "locked/texts.csv: cannot be read"),
        ((*TRAIN, "data.train=locked/texts"), 3, "locked/texts: cannot be read"),
        ((*TRAIN, "data.test=locked/texts.csv"), 3, "locked/texts.csv: cannot be read"),
        ((*TRAIN, "vectors.path=locked/vectors"), 3, "locked/vectors: cannot be read"),
        ((*TRAIN, "init_from=locked/run"), 5, "locked/run: cannot be accessed"),
        ((*TRAIN, "loss.name=distillation", "loss.teacher=locked/run"), 5, "locked/run: cannot be accessed"),
    ],
)
def test_a_place_that_cannot_be_looked_at_is_told(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    assert main.main(list(words)) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"{message}: Permission denied"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("test", ""), "folder"),
        (("test", "experiments/run", "--data", ""), "data"),  # not the run's own test split
        (("predict", "experiments/run", "--input", ""), "input"),  # not the folder that we are in
        (("predict", "experiments/run", "--text", "rice", "--output", ""), "output"),
        (("predict", "experiments/run", "--input", "-", "--encoding", ""), "encoding"),
        (("export", "experiments/run", "--out", ""), "out"),
        (("prepare", "papers", "--source", "", "--out", "new"), "source"),
        (("prepare", "papers", "--source", "old", "--out", ""), "out"),
        (("",), "config"),
    ],
)
def test_an_option_left_empty_stands_for_nothing_else(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], option: str
) -> None:
    assert main.main(list(words)) == 2
    assert capsys.readouterr().err.startswith(f"command line: {option} is empty")
