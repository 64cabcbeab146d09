"""--output replaces no file that is read, and none of a run's own; what is made of a checkpoint outlives it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prediction_runs import CONFIGS, folder, predict, trained  # noqa: F401

from main import main

OCCLUSION = ["--json", "--method", "occlusion"]


def bytes_of(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict experiments/x --input texts.jsonl --output texts.jsonl", "would replace texts.jsonl, which is read"),
        ("predict experiments/x --input texts.jsonl --output link.jsonl", "would replace texts.jsonl, which is read"),
        ("predict experiments/x --input texts.jsonl --output tiny.jsonl", "would replace tiny.jsonl, which is read"),
        ("predict experiments/x --text a --output experiments/x/report.json", "is a file of the run"),
        ("explain experiments/x --text a --output experiments/x/config.yaml", "is a file of the run"),
        ("explain experiments/x --input texts.jsonl --output texts.jsonl", "would replace texts.jsonl, which is read"),
        ("compare experiments/x --output experiments/x/predictions.jsonl", "is a file of the run"),
        ("compare experiments/x --output tiny.jsonl", "would replace tiny.jsonl, which is read"),
        ("predict experiments/x --input many --output many/sea/3.txt", "is in many, which is read"),
        ("find-lr classes.yaml --output many/land/1.svg", "is in many, which is read"),
        (
            "curve x.yaml vectors.path=words.svg --sizes 3,6 --output words.svg",
            "would replace words.svg, which is read",
        ),
    ],
)
def test_nothing_that_is_read_is_replaced(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    (folder / "link.jsonl").symlink_to("texts.jsonl")
    (folder / "classes.yaml").write_text(
        "agent: classification\ndata: {name: files, train: many}\nmodel: {name: bag_of_embeddings}"
    )
    (folder / "x.yaml").write_text(CONFIGS["x"])
    (folder / "words.svg").write_text("a 1 2")
    for name in ("sea/1.txt", "land/2.txt"):
        (folder / "many" / name).parent.mkdir(parents=True)
        (folder / "many" / name).write_text("a text")
    before = bytes_of(folder)
    assert main([*words.split(), *(OCCLUSION if words.startswith("explain") else [])]) == 2
    assert message in capsys.readouterr().err
    assert bytes_of(folder) == before


def test_an_older_output_is_replaced(folder: Path) -> None:
    Path("old.jsonl").write_text("old")
    assert main(["predict", "experiments/x", "--input", "texts.jsonl", "--output", "old.jsonl"]) == 0
    assert json.loads(Path("old.jsonl").read_text().splitlines()[0])["predicted"]


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("option", ["--format csv", "--encoding latin-1"])
def test_options_of_files_are_refused_beside_a_text(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    option: str,
) -> None:
    assert main([command, "experiments/x", "--text", "a", *option.split()]) == 2
    assert f"{option.split()[0]} goes with --input" in capsys.readouterr().err


def test_what_is_made_of_a_checkpoint_is_beside_it_and_states_its_own_figures(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = json.loads(Path("experiments/x/report.json").read_text())["best"]["step"]
    steps = sorted(Path("experiments/x/checkpoints").glob("step-*"))
    for step in steps:
        assert main(["export", str(step), "--format", "bundle"]) == 0
        bundle = Path(f"experiments/x/bundle-{step.name}")
        assert (bundle / "report.json").exists() == (step.name == f"step-{best}"), "of the best weights alone"
        assert "bundle" not in [path.name for path in step.iterdir()]
    assert len(steps) > 1


WRITERS = {
    "compare": ["experiments/x", "--format", "csv"],
    "explain": ["experiments/x", "--text", "a", *OCCLUSION],
    "find-lr": ["x.yaml", "--steps", "10"],
    "predict": ["experiments/x", "--text", "a"],
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_link_stays_and_a_pipe_is_written_to(folder: Path, command: str) -> None:
    (folder / "x.yaml").write_text(CONFIGS["x"])
    link, target, pipe = folder / "link.svg", folder / "target.svg", folder / "pipe.svg"
    link.symlink_to("target.svg")
    os.mkfifo(pipe)
    assert main([command, *WRITERS[command], "--output", "link.svg"]) == 0
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        assert main([command, *WRITERS[command], "--output", "pipe.svg"]) == 0
        assert link.is_symlink()
        assert pipe.is_fifo()
        assert read.result(60) == target.read_text() != ""


@pytest.mark.parametrize("command", WRITERS)
def test_a_full_device_ends_with_its_code(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Through a link, which a write in place would have replaced instead of the device of the machine."""
    (folder / "x.yaml").write_text(CONFIGS["x"])
    (folder / "full.svg").symlink_to("/dev/full")
    assert main([command, *WRITERS[command], "--output", "full.svg"]) == 5
    assert "full.svg: cannot be written: No space left on device" in capsys.readouterr().err
    assert (folder / "full.svg").is_symlink()
