"""A run's folder: one process at a time, one config for ever, and never somebody else's files."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT as PROJECT

from agents.classifying.artifacts import saved_labels
from utils.config.config import Config
from utils.errors import CheckpointError, ConfigError, StorageError
from utils.runs.experiment import MAX_NAME, Experiment
from utils.runs.saved import saved_config

VALUES: dict[str, Any] = {
    "name": "run",
    "agent": "classification",
    "seed": 1,
    "device": "auto",
    "num_threads": 2,
    "init_from": None,
    "data": {"fields": ["title", "text"], "num_workers": 2},
    "train": {"num_epochs": 3, "num_steps": None, "batch_size": 16, "patience": None, "save_every": "1 epoch"},
    "distributed": {"timeout": 300.0},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the run called run."""
    monkeypatch.chdir(tmp_path)
    return Path("experiments/run")


def config_with(**changes: Any) -> Config:
    """VALUES with dotted keys (a__b for a.b) changed; every key on a line of its own."""
    values = json.loads(json.dumps(VALUES))
    for key, value in changes.items():
        *sections, last = key.split("__")
        node = values
        for section in sections:
            node = node[section]
        node[last] = value
    free = [key.replace("__", ".") for key in FREE]
    return Config(values, Path("a.yaml"), {key.replace("__", "."): "a.yaml:9" for key in changes}, free)


def open_and_close(config: Config, **options: Any) -> None:
    Experiment.open(config, **options).close()


def begin_fresh(config: Config) -> None:
    experiment = Experiment.open(config, is_fresh=True)
    experiment.begin(config)
    experiment.close()


# Claiming a folder.


def test_a_new_folder_holds_the_config(folder: Path) -> None:
    open_and_close(config_with())
    assert saved_config(folder) == VALUES
    assert saved_config(folder)["train"]["batch_size"] == 16
    assert os.listdir(folder) == ["config.yaml"]  # noqa: PTH208 (hidden ones, too)


def test_the_same_config_opens_its_folder_again(folder: Path) -> None:
    open_and_close(config_with())
    before = (folder / "config.yaml").stat()
    (folder / "kept").write_text("x")
    open_and_close(config_with())
    after = (folder / "config.yaml").stat()  # all but the time of the last access, as it is read
    assert (after[:7], after.st_mtime_ns, after.st_ctime_ns) == (before[:7], before.st_mtime_ns, before.st_ctime_ns)
    assert (folder / "kept").exists()


@pytest.mark.parametrize(
    ("key", "value", "difference"),
    [
        ("seed", 2, "seed: 1 -> 2"),
        ("agent", "other", "agent: classification -> other"),
        ("train__batch_size", 32, "train.batch_size: 16 -> 32"),
        ("data__fields", ["text"], "data.fields: ['title', 'text'] -> ['text']"),
        ("init_from", "experiments/x", "init_from: None -> experiments/x"),
        ("data__extra", 5, "data.extra: None -> 5"),
    ],
)
def test_a_changed_config_is_refused_with_the_key_and_both_values(
    folder: Path, key: str, value: Any, difference: str
) -> None:
    open_and_close(config_with())
    (folder / "metrics.jsonl").write_text("{}\n")  # a step
    with pytest.raises(ConfigError) as caught:
        Experiment.open(config_with(**{key: value}))
    assert str(caught.value).startswith(f"a.yaml:9: {folder} holds a run of another config ({difference}); give this")
    assert saved_config(folder) == VALUES
    open_and_close(config_with())  # the refusal has let the lock go


@pytest.mark.parametrize("leftover", ["run.log", "metrics.jsonl", "tokenizer.json"])
def test_a_start_that_came_to_no_step_may_be_mended(folder: Path, leftover: str) -> None:
    """As after a bad row: the config is changed, and the same name is free for it."""
    open_and_close(config_with())
    (folder / leftover).write_text("" if leftover == "metrics.jsonl" else "something")
    open_and_close(config_with(seed=2, data__fields=["text"]))
    assert saved_config(folder)["seed"] == 2


@pytest.mark.parametrize("trace", ["checkpoints/step-1", "checkpoints/damaged-step-1", "report.json"])
def test_a_run_with_a_trace_of_training_is_not_mended(folder: Path, trace: str) -> None:
    open_and_close(config_with())
    (folder / trace).mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds a run of another config"):
        Experiment.open(config_with(seed=2))


@pytest.mark.parametrize("changes", [{"train__num_epochs": 2}, {"device": "cpu"}, {"train__save_every": "5 steps"}])
def test_a_finished_run_that_is_asked_for_no_more_stays_as_it_is(folder: Path, changes: dict[str, Any]) -> None:
    open_and_close(config_with())
    (folder / "report.json").write_text("{}")
    open_and_close(config_with(**changes))
    assert saved_config(folder) == VALUES
    assert (folder / "report.json").exists()


def test_all_differences_are_shown(folder: Path) -> None:
    open_and_close(config_with())
    (folder / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"\(seed: 1 -> 2, train.batch_size: 16 -> 8\)"):
        Experiment.open(config_with(seed=2, train__batch_size=8, train__num_epochs=9))


FREE = {
    "device": "cpu",
    "num_threads": 1,
    "data__num_workers": 1,
    "train__num_epochs": 9,
    "train__num_steps": 100,
    "train__patience": 2,
    "train__save_every": "5 steps",
    "distributed__timeout": 9.0,
}


@pytest.mark.parametrize("key", FREE)
def test_a_free_key_may_change_and_the_new_value_is_saved(folder: Path, key: str) -> None:
    open_and_close(config_with())
    config = config_with(**{key: FREE[key]})
    open_and_close(config)
    assert saved_config(folder) == config.to_dict()


@pytest.mark.parametrize("key", FREE)
def test_only_a_request_for_more_steps_takes_up_a_finished_run(folder: Path, key: str) -> None:
    experiment = Experiment.open(config_with())
    experiment.finish({"accuracy": 0.5})
    experiment.close()
    experiment = Experiment.open(config_with(**{key: FREE[key]}))
    asks_for_more = key in ("train__num_epochs", "train__num_steps")
    assert experiment.report == (None if asks_for_more else {"accuracy": 0.5})
    experiment.close()


@pytest.mark.parametrize(
    ("num_epochs", "patience", "is_longer"),
    [
        (3, 5, False),
        (3, 6, True),
        (3, None, True),
        (3, 4, False),
        (4, 5, True),
        (4, 4, True),
        (2, 6, False),
        (2, None, False),
    ],
)
def test_a_finished_run_is_extended_by_a_longer_length_or_patience_alone(
    folder: Path, num_epochs: int, patience: int | None, is_longer: bool
) -> None:
    """Else its saved config would state fewer epochs than its report."""
    first = config_with(train__patience=5)
    experiment = Experiment.open(first)
    experiment.finish({"accuracy": 0.5})
    experiment.close()
    config = config_with(train__num_epochs=num_epochs, train__patience=patience)
    experiment = Experiment.open(config)
    assert (experiment.report is None) == is_longer
    if is_longer:
        experiment.begin(config)
    experiment.close()
    assert saved_config(folder) == (config if is_longer else first).to_dict()


def test_a_finished_run_loses_its_report_only_when_it_goes_on(folder: Path) -> None:
    experiment = Experiment.open(config_with())
    experiment.finish({"accuracy": 0.5})
    experiment.close()
    open_and_close(config_with(train__num_epochs=9))  # what comes between, such as changed data, may refuse it
    experiment = Experiment.open(config_with())
    assert (experiment.report, saved_config(folder)) == ({"accuracy": 0.5}, VALUES)
    experiment.close()
    longer = config_with(train__num_epochs=9)
    experiment = Experiment.open(longer)
    experiment.begin(longer)
    assert (experiment.report, saved_config(folder)) == (None, longer.to_dict())
    with pytest.raises(StorageError, match="another process is using this run"):
        Experiment.open(longer)
    experiment.close()


def test_fresh_begins_anew_and_with_any_config(folder: Path) -> None:
    open_and_close(config_with())
    (folder / "checkpoints").mkdir()
    (folder / "metrics.jsonl").write_text("{}")
    begin_fresh(config_with(seed=2))
    assert saved_config(folder)["seed"] == 2
    assert not (folder / "checkpoints").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == [".run.lock", "run"]


def test_fresh_puts_the_old_run_back_where_the_new_one_does_not_begin(folder: Path) -> None:
    """Its data may be refused, or its processes may not find each other."""
    open_and_close(config_with())
    (folder / "report.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    experiment = Experiment.open(config_with(seed=2), is_fresh=True)
    assert not (folder / "report.json").exists()
    with pytest.raises(StorageError, match="another process is using this run"):
        Experiment.open(config_with())
    experiment.write("labels.json", "[]")
    Experiment.open(Config({"name": "other"}, Path("a.yaml"), {})).close()  # which removes what others have left behind
    experiment.abandon()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    open_and_close(config_with())
    names = {path.name for path in folder.parent.iterdir() if not path.name.startswith(".other")}
    assert names == {".run.lock", "run", "other"}


def test_fresh_takes_a_run_whose_config_is_damaged(folder: Path) -> None:
    open_and_close(config_with())
    seal = (folder / "config.yaml").read_text().splitlines()[-1]
    (folder / "config.yaml").write_text(f"{{\n{seal}\n")
    with pytest.raises(CheckpointError, match=r"^experiments/run/config\.yaml:\d: while parsing"):
        Experiment.open(config_with())
    begin_fresh(config_with())
    assert saved_config(folder) == VALUES


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_folder_that_is_no_run_is_refused_and_left_alone(folder: Path, is_fresh: bool) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match=r"holds files but no config.yaml, so it is not a run; choose another name:"):
        Experiment.open(config_with(), is_fresh=is_fresh)
    assert (folder / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_file_in_the_way_is_refused_and_left_alone(folder: Path, is_fresh: bool) -> None:
    folder.parent.mkdir()
    folder.write_text("x")
    with pytest.raises(StorageError, match="experiments/run: is a file; a run needs a folder there"):
        Experiment.open(config_with(), is_fresh=is_fresh)
    assert folder.read_text() == "x"


def test_a_start_that_was_killed_before_its_config_is_taken_over(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".tmp-config.yaml-0123456789abcdef").write_text("half")
    open_and_close(config_with())
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_a_place_that_cannot_be_written_is_a_storage_error() -> None:
    Path("experiments").write_text("x")
    with pytest.raises(StorageError, match=r"^experiments: cannot be written: File exists$"):
        Experiment.open(config_with())


# Names.


@pytest.mark.parametrize("name", ["run", "a-lr=0.1", "ünï cödé 日本", "x" * MAX_NAME, "a.b", "-", "'"])
def test_a_name_is_one_folder(name: str) -> None:
    open_and_close(config_with(name=name))
    assert saved_config(Path("experiments") / name)["name"] == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/tmp/x", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "a\x1b[31mb", "\ud800", "é" * 101],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Experiment.open(config_with(name=name))
    assert str(caught.value) == f"a.yaml:9: name must be one folder's name of at most {MAX_NAME} bytes, got {name!r}"
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


# The lock.

HOLD = """\
from pathlib import Path
from utils.config.config import Config
from utils.runs.experiment import Experiment
experiment = Experiment.open(Config({"name": "run"}, Path("a.yaml"), {}))
print("open", flush=True)
input()
"""


@pytest.fixture
def holder() -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the run open."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_run_that_another_process_uses_is_refused(
    folder: Path, holder: "subprocess.Popen[str]", is_fresh: bool
) -> None:
    with pytest.raises(StorageError, match=f"^{folder}: another process is using this run; wait for it, or give"):
        Experiment.open(Config({"name": "run"}, Path("a.yaml"), {}), is_fresh=is_fresh)
    assert saved_config(folder) == {"name": "run"}
    open_and_close(config_with(name="other"))


def test_a_killed_process_holds_nothing(holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    open_and_close(Config({"name": "run"}, Path("a.yaml"), {}))


def test_the_same_process_cannot_open_a_run_twice_and_may_after_closing(folder: Path) -> None:
    experiment = Experiment.open(config_with())
    with pytest.raises(StorageError, match="another process is using this run"):
        Experiment.open(config_with())
    experiment.close()
    open_and_close(config_with())


# What lies in the folder.


def test_a_report_makes_a_run_a_finished_one(folder: Path) -> None:
    experiment = Experiment.open(config_with())
    assert experiment.report is None
    experiment.finish({"valid": {"accuracy": 0.25}, "label": "日本"})
    assert experiment.report == {"valid": {"accuracy": 0.25}, "label": "日本"}
    (folder / "report.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"report.json: is damaged .*; remove it and run the same command to write it"
    ):
        _ = experiment.report
    experiment.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "experiments/run: no such folder; runs are in experiments/NAME"),
        ({}, r"experiments/run: holds no run \(config.yaml is missing\)"),
        ({"config.yaml": b"a: [1"}, "experiments/run/config.yaml:1: while parsing"),
        ({"config.yaml": b"\xff"}, "experiments/run/config.yaml: cannot be read: "),
        ({"config.yaml": b"- 1"}, "experiments/run/config.yaml: is not a config"),
    ],
)
def test_a_folder_without_a_usable_run_is_told(folder: Path, content: dict[str, bytes] | None, message: str) -> None:
    if content is not None:
        folder.mkdir(parents=True)
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"^{message}"):
        saved_config(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"[", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b'{"a": 1}', "is not a list of labels"),
        (b"[1, 2]", "is not a list of labels"),
    ],
)
def test_labels_that_cannot_be_used_are_told(folder: Path, content: bytes | None, message: str) -> None:
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "labels.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^experiments/run/labels.json: .*{message}"):
        saved_labels(folder)


def test_labels_keep_their_order(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "labels.json").write_text('["b", "ä", "a"]')
    assert saved_labels(folder) == ["b", "ä", "a"]


# What --fresh may remove.

FOREIGN = [
    "thesis.tex",
    "config.yaml.bak",
    "checkpoints/notes.txt",
    "checkpoints/step-3/my.bin",
    "summaries/figure.png",
    "data/train.csv",
    "hf/config.json",
    "predictions_of_mine.jsonl",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_fresh_removes_no_file_that_no_run_writes(folder: Path, name: str) -> None:
    open_and_close(config_with())
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(
        StorageError, match=f"^{folder}: holds {name}, which no run writes; move that elsewhere, or choose"
    ):
        open_and_close(config_with(seed=2), is_fresh=True)
    assert (folder / name).read_text() == "mine"
    assert saved_config(folder) == VALUES


@pytest.mark.parametrize("content", ["", "a: 1\n", "name: run\n# sha256 of nothing\n"])
def test_fresh_removes_no_folder_of_another_program(folder: Path, content: str) -> None:
    """Any program's settings may be in a file of that name."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(content)
    with pytest.raises(
        StorageError, match=r"its config\.yaml was not written by this program, so --fresh removes nothing"
    ):
        open_and_close(config_with(), is_fresh=True)
    assert (folder / "config.yaml").read_text() == content


def test_fresh_removes_all_that_a_run_leaves(folder: Path) -> None:
    open_and_close(config_with())
    for name in [
        "report.json",
        "labels.json",
        "tokenizer.json",
        "metrics.jsonl",
        "run.log",
        "predictions.jsonl",
        "checkpoints/step-1/state.pt",
        "checkpoints/damaged-step-2/MANIFEST.json",
        "checkpoints/step-1/model.safetensors",
        "summaries/events.out.tfevents.1.host.2.0.3.4",
        "checkpoints/.tmp-step-3-0123456789abcdef/state.pt",
    ]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    begin_fresh(config_with())
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


# A folder that changes hands, and files that cannot be read now.


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_lock_that_is_removed_lets_no_second_process_in(
    folder: Path, holder: "subprocess.Popen[str]", is_fresh: bool
) -> None:
    (folder.parent / ".run.lock").unlink()
    with pytest.raises(StorageError, match=f"^{folder}: another process is using this run"):
        Experiment.open(Config({"name": "run"}, Path("a.yaml"), {}), is_fresh=is_fresh)


def removed_and_begun_again(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder.parent / ".run.lock").unlink()
    Experiment.open(config_with())


@pytest.mark.parametrize(
    "change",
    [shutil.rmtree, lambda folder: folder.rename("elsewhere"), removed_and_begun_again],
    ids=["gone", "moved", "taken"],
)
def test_a_run_whose_folder_is_taken_writes_nothing_more(folder: Path, change: Callable[[Path], Any]) -> None:
    experiment = Experiment.open(config_with())
    checkpoints = experiment.checkpoints(keep=1)
    change(folder)
    for save in (lambda: experiment.finish({}), lambda: checkpoints.save(1, 1, {}, {}, {})):
        with pytest.raises(
            StorageError, match=f"^{folder}: was moved, removed or replaced while this run was using it"
        ):
            save()
    assert not (folder / "report.json").exists()
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.log", "report.json", "predictions.jsonl", "summaries", "x"])
def test_a_pipe_among_the_files_is_refused(folder: Path, name: str) -> None:
    open_and_close(config_with())
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be read: not a regular file"):
        Experiment.open(config_with())
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be read: not a regular file"):
        saved_config(folder)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("name", ["report.json", "config.yaml", "labels.json"])
def test_a_file_that_cannot_be_read_now_is_no_damaged_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    experiment = Experiment.open(config_with())
    experiment.finish({"accuracy": 0.5})
    experiment.write("labels.json", "[]")
    real = os.open

    def fail(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).name == name:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match=f"{name}: cannot be read now: {os.strerror(code)}$"):
        {"report.json": lambda: experiment.report, "config.yaml": lambda: saved_config(folder)}.get(
            name, lambda: saved_labels(folder)
        )()


def test_an_option_that_the_version_before_did_not_have_is_no_change(folder: Path) -> None:
    open_and_close(config_with())
    (folder / "metrics.jsonl").write_text("{}\n")
    newer = config_with(data__extra=5)
    newer.places.clear()  # nobody has written it: it is a default
    open_and_close(newer)
    assert saved_config(folder)["data"]["extra"] == 5
