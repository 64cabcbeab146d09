"""What a start says that goes on from a checkpoint: another schedule, a patience that is used up, a best checkpoint that is damaged."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import tiny_rows, write_jsonl

from main import main


def start(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What the program says on stderr."""
    capsys.readouterr()
    assert main(["tiny.yaml", "name=x", *words]) == code
    return capsys.readouterr().err


def report() -> dict:
    return json.loads(Path("experiments/x/report.json").read_text())


def rates() -> dict[int, float]:
    lines = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["lr"] for line in lines if line["split"] == "train"}


# 72 training texts, 16 a step: 5 steps an epoch.
@pytest.mark.parametrize(
    ("schedule", "before", "after"),
    [
        ("linear", 0.05 * (1 - 9 / 10), 0.05 * (1 - 10 / 20)),
        ("cosine", 0.05 * 0.5 * (1 - 0.9510565162951535), 0.05 * 0.5),  # 1 + cos(0.9 pi), 1 + cos(pi / 2)
    ],
)
def test_a_stretched_schedule_says_how_the_rate_jumps(
    workplace: Path, capsys: pytest.CaptureFixture[str], schedule: str, before: float, after: float
) -> None:
    words = [f"scheduler.name={schedule}", "train.log_every=1"]
    start(capsys, *words)
    err = start(capsys, *words, "train.num_epochs=4")
    line = next(line for line in err.splitlines() if "the schedule is stretched" in line)
    assert line.startswith("the schedule is stretched to 20 steps: the learning rate was")
    found = [float(number) for number in re.findall(r"was (\S+) at step 10 and is (\S+) now", line)[0]]
    assert found == pytest.approx([before, after], rel=1e-5)
    assert [rates()[10], rates()[11]] == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "reduce_on_plateau", "{name: inverse_sqrt, warmup_steps: 3}"])
def test_a_schedule_without_an_end_does_not_jump(
    workplace: Path, capsys: pytest.CaptureFixture[str], schedule: str
) -> None:
    words = [f"scheduler={schedule}" if "{" in schedule else f"scheduler.name={schedule}"]
    start(capsys, *words)
    err = start(capsys, *words, "train.num_epochs=4")
    assert "resuming from step 10" in err
    assert "stretched" not in err


def test_a_resume_of_the_same_length_does_not_jump(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scheduler={name: one_cycle}", "train.num_epochs=3", "train.save_every=1 step", "train.keep=20"]
    start(capsys, *words)
    Path("experiments/x/report.json").unlink()
    for step in (13, 14, 15):
        shutil.rmtree(f"experiments/x/checkpoints/step-{step}")
    assert "stretched" not in start(capsys, *words)


def test_patience_that_has_ended_a_run_is_named(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train.patience=1", "train.monitor=+accuracy", "optimizer.lr=1e-5"]  # with which nothing is learnt
    err = start(capsys, *words, "train.num_epochs=9")
    steps = report()["train"]["steps"]
    *_, last, said = [line for line in err.splitlines() if "valid" in line]
    assert f"step {steps}: " in last
    assert last.endswith(" (best weights: a tie, decided by the loss; patience used: 1 of 1)")
    assert said == "stopped early: no better accuracy for 1 validation (train.patience)"
    assert steps < 45
    assert report()["train"]["is_stopped_early"]
    assert "a higher train.patience resumes it" in start(capsys, *words, "train.num_epochs=9")
    err = start(capsys, *words, "train.num_epochs=20")
    assert f"train.patience 1 has ended this run at step {steps}; a higher train.patience, or null, resumes it" in err
    assert "resuming" not in err
    assert report()["train"]["is_stopped_early"]
    assert report()["train"]["steps"] == steps
    assert "resuming from step" in start(capsys, *words[1:], "train.patience=30", "train.num_epochs=20")
    assert report()["train"]["steps"] == 100
    assert not report()["train"]["is_stopped_early"]


def test_patience_that_is_used_up_at_the_last_step_has_stopped_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train.patience=1", "train.monitor=+accuracy", "optimizer.lr=1e-5"]
    start(capsys, *words, "train.num_epochs=9")
    epochs = report()["train"]["epochs"]
    start(capsys, *words, f"train.num_epochs={epochs}", "--fresh")
    assert report()["train"]["epochs"] == epochs
    assert not report()["train"]["is_stopped_early"]
    start(capsys, *words, "train.num_epochs=20")
    assert report()["train"]["is_stopped_early"]


def damaged_best(name: str = "model.safetensors") -> int:
    """Damage the best checkpoint of an unfinished run whose newest is another one; -> its step."""
    path = max(
        Path("experiments/x/checkpoints").glob("step-*/MANIFEST.json"), key=lambda path: int(path.parent.name[5:])
    )
    manifest = json.loads(path.read_text())
    assert manifest["best_step"] != manifest["step"]
    file = path.parent.with_name(f"step-{manifest['best_step']}") / name
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    return int(manifest["best_step"])


@pytest.mark.parametrize("num_epochs", [4, 6])
@pytest.mark.parametrize("name", ["model.safetensors", "MANIFEST.json"])
def test_a_damaged_best_checkpoint_is_told_at_the_start_and_the_run_ends(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, num_epochs: int
) -> None:
    labels = ["chess", "cooking", "sailing"]
    wrong = [row | {"label": labels[labels.index(row["label"]) - 1]} for row in tiny_rows(30)]
    write_jsonl(Path("wrong.jsonl"), wrong)
    words = ["data.valid=wrong.jsonl", "train.monitor=-loss", "optimizer.lr=0.02"]  # the first validation is the best
    start(capsys, *words, "train.num_epochs=4")
    step = damaged_best(name)
    capsys.readouterr()
    assert main(["predict", "experiments/x", "--text", "x"]) == 4
    hint = (
        "without experiments/x/report.json the command that trained the run resumes it, with the best of what is left"
    )
    assert hint in capsys.readouterr().err.splitlines()[-1]
    Path("experiments/x/report.json").unlink()
    err = start(capsys, *words, f"train.num_epochs={num_epochs}")
    assert f"warning: experiments/x/checkpoints/step-{step}/{name}: is damaged" in err
    assert "and it was the best; the best is chosen from here on (--fresh starts over)" in err
    assert report()["best"]["step"] >= 24
    assert report()["train"]["steps"] == 6 * num_epochs
    assert main(["test", "experiments/x"]) == 0
