"""C3: files that belong elsewhere, in a checkpoint or in a run's folder: exit code 4 within 2 s, in one line that says what is wrong."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import TINY_CONFIG, write_jsonl
from disk_cases import FILES, assert_refused, copied, hashes, rewrite, torch_bytes, workplace
from disk_fixtures import finished, in_process, zygote  # noqa: F401
from disk_zygote import Ended, Zygote

from utils.runs.checkpoint import MANIFEST, MODEL, STATE

InProcess = Callable[..., Ended]
HTML = b"<!DOCTYPE html><html><title>404 Not Found</title></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
KINDS = ["missing", "empty", "html", "lfs", "folder", "pipe", "device", "loop"]
PREDICT = ["predict", "experiments/tiny", "--text", "boil the rice"]


def put(path: Path, kind: str) -> None:
    """Put something else in a file's place."""
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "loop"):
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
    elif kind != "missing":
        path.write_bytes({"empty": b"", "html": HTML, "lfs": LFS}[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*FILES, "config.yaml", "labels.json", "tokenizer.json"])
def test_a_foreign_file_is_refused(
    tmp_path: Path, finished: tuple[str, Path], in_process: InProcess, name: str, kind: str
) -> None:
    place = copied(finished[1], tmp_path / "place")
    run = place / "experiments/tiny"
    for path in run.glob(f"checkpoints/*/{name}") if name in FILES else [run / name]:
        put(path, kind)
    assert_refused(in_process(place, *PREDICT), 4, name if kind != "missing" else "", seconds=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_takes_the_checkpoint_before_a_foreign_one(
    tmp_path: Path, finished: tuple[str, Path], zygote: Zygote, kind: str
) -> None:
    """And ends as the run did that was never harmed."""
    place = copied(finished[1], tmp_path / "place")
    run = place / "experiments/tiny"
    expected = hashes(run)
    (run / "report.json").unlink()
    put(run / "checkpoints/step-6" / FILES[KINDS.index(kind) % 3], kind)
    ended = zygote.run(place, "tiny.yaml")
    assert ended.code == 0, ended.err
    assert "; using the checkpoint before it" in ended.err
    assert hashes(run) == expected


# Files that fit their manifest, and not the run: made by hand, or copied with it.

OTHERS = {
    "other sizes": ({"model.hidden_size": "20"}, {"head.hidden_sizes": "[5]"}),
    "another vocabulary": ({"tokenizer.min_count": "3"}, {"tokenizer.min_count": "3"}),
    "other fields": ({"data.fields": "[text]"}, {"data.fields": "[text]"}),
}


@pytest.mark.parametrize("other", [*OTHERS, "another model", "another task"])
@pytest.mark.parametrize("what", ["checkpoints", "weights"])
def test_checkpoints_of_another_run_are_refused(
    tmp_path: Path, finished: tuple[str, Path], zygote: Zygote, in_process: InProcess, other: str, what: str
) -> None:
    model, source = finished
    place = copied(source, tmp_path / "place")
    arguments = [f"{key}={value}" for key, value in OTHERS.get(other, ({}, {}))[model == "boe"].items()]
    config = {"bilstm": "boe", "boe": "bilstm"}[model] if other == "another model" else model
    if other == "another task":
        rows = [json.loads(line) for line in (place / "tiny.jsonl").read_text().splitlines()]
        write_jsonl(place / "tiny.jsonl", [row | {"label": f"{row['label']}|x"} for row in rows])
        arguments = ["data.multi_label=true", "loss.name=binary_cross_entropy"]
    if config != model:
        workplace(
            place,
            TINY_CONFIG.replace("bilstm", "bag_of_embeddings").replace("  hidden_size: 12\n", "", 1)
            if config == "boe"
            else TINY_CONFIG,
        )
    ended = zygote.run(place, "tiny.yaml", "name=other", *arguments)
    assert ended.code == 0, ended.err
    run = place / "experiments/tiny/checkpoints"
    if what == "checkpoints":
        shutil.rmtree(run)
        shutil.copytree(place / "experiments/other/checkpoints", run)
    else:
        for path in run.iterdir():
            shutil.copy(next(place.glob(f"experiments/other/checkpoints/{path.name}/{MODEL}")), path / MODEL)
            rewrite(path)
    assert_refused(in_process(place, *PREDICT), 4, "experiments/tiny", seconds=2)


def test_weights_of_one_run_with_the_state_of_another_are_refused(
    tmp_path: Path, finished: tuple[str, Path], zygote: Zygote
) -> None:
    place = copied(finished[1], tmp_path / "place")
    assert zygote.run(place, "tiny.yaml", "name=other", "seed=2").code == 0
    for step in ("step-3", "step-6"):
        shutil.copy(
            place / "experiments/other/checkpoints" / step / STATE, place / "experiments/tiny/checkpoints" / step
        )
    (place / "experiments/tiny/report.json").unlink()
    assert_refused(zygote.run(place, "tiny.yaml"), 4, rf"step-6/{STATE}", "no other checkpoint is left", seconds=3)


def test_the_first_five_names_of_each_kind_are_listed(
    tmp_path: Path, finished: tuple[str, Path], zygote: Zygote
) -> None:
    place = copied(finished[1], tmp_path / "place")
    for path in (place / "experiments/tiny/checkpoints").iterdir():
        weights = safetensors.torch.load_file(path / MODEL)
        names = sorted(weights)
        renamed = {f"other{i}": weights.pop(name) for i, name in enumerate(names[:1])} | {
            f"x{i}": torch.zeros(1) for i in range(6)
        }
        weights[names[1]] = torch.zeros(3, 1, 2)
        weights[names[2]] = weights[names[2]].half()
        (path / MODEL).write_bytes(safetensors.torch.save(weights | renamed))
        rewrite(path)
    (place / "experiments/tiny/report.json").unlink()
    first, second, third = names[:3]
    words = [
        rf"missing: {first}; unexpected: other0, x0, x1, x2, x3 and 2 more; misshaped: ",
        rf"{second} float32 \[3, 1, 2\], not float32",
        rf"{third} float16",
    ]
    assert_refused(zygote.run(place, "tiny.yaml"), 4, *words, seconds=3)
    assert_refused(zygote.run(place, *PREDICT), 4, *words, seconds=3)


@pytest.mark.parametrize("version", [2, 99, "2", None, "\x1b[31m" * 99])
def test_a_newer_format_is_told(
    tmp_path: Path, finished: tuple[str, Path], in_process: InProcess, version: object
) -> None:
    place = copied(finished[1], tmp_path / "place")
    for path in (place / "experiments/tiny/checkpoints").iterdir():
        rewrite(path, format=version)
    assert_refused(
        in_process(place, *PREDICT), 4, rf"{MANIFEST}: has format .{{1,60}}, this version reads 1", seconds=2
    )


@pytest.mark.parametrize("broken", ["nan", "inf"])
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, finished: tuple[str, Path], in_process: InProcess, broken: str
) -> None:
    place = copied(finished[1], tmp_path / "place")
    for path in (place / "experiments/tiny/checkpoints").iterdir():
        weights = safetensors.torch.load_file(path / MODEL)
        name = next(iter(weights))
        weights[name].view(-1)[3] = float(broken)
        (path / MODEL).write_bytes(safetensors.torch.save(weights))
        rewrite(path)
    assert_refused(
        in_process(place, *PREDICT),
        4,
        rf"{MODEL}: is not a checkpoint of this program \({name} is not finite\)",
        seconds=2,
    )


STATES = {
    "a counter that is a word": lambda state: state["run"].update(step="six"),
    "a counter too many": lambda state: state["run"].update(colour=3),
    "a moment of another shape": lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(7, 7)),
    "counts of another shape": lambda state: state["meter"].update(counts=torch.zeros(9, 9, dtype=torch.int64)),
    "no random state": lambda state: state.pop("rng"),
    "a short random state": lambda state: state["rng"].update(cpu=torch.zeros(7, dtype=torch.uint8)),
    "no optimizer": lambda state: state.update(optimizer=None),
    "groups of another model": lambda state: state["optimizer"]["param_groups"].clear(),
}


@pytest.mark.parametrize("change", STATES)
def test_a_state_of_another_run_is_refused(
    tmp_path: Path, finished: tuple[str, Path], zygote: Zygote, change: str
) -> None:
    place = copied(finished[1], tmp_path / "place")
    path = place / "experiments/tiny/checkpoints/step-6"
    state = torch.load(path / STATE, weights_only=True)
    STATES[change](state)
    (path / STATE).write_bytes(torch_bytes(state))
    rewrite(path)
    (place / "experiments/tiny/report.json").unlink()
    ended = zygote.run(place, "tiny.yaml", "train.num_epochs=3")
    assert_refused(ended, 4, "step-6: belongs to another model or another version of this code", seconds=3)


# Files of the run's folder that fit nothing: a letter of the vocabulary changed would give other answers without a word.


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tokenizer.json", "boil", "bowl"),
        ("labels.json", "chess", "chest"),
        ("labels.json", '"chess", "cooking"', '"cooking", "chess"'),
    ],
)
def test_a_vocabulary_or_labels_of_another_run_are_refused(
    tmp_path: Path, finished: tuple[str, Path], in_process: InProcess, name: str, old: str, new: str
) -> None:
    place = copied(finished[1], tmp_path / "place")
    path = place / "experiments/tiny" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert_refused(
        in_process(place, *PREDICT),
        4,
        rf"{name}: is not the one that .*step-\d was trained with",
        seconds=2,
    )
    (place / "init.yaml").write_text((place / "tiny.yaml").read_text() + "init_from: experiments/tiny\n")
    assert_refused(in_process(place, "init.yaml"), 4, rf"{name}: is not the one that", seconds=5)
