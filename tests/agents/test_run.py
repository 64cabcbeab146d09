"""One tiny run from text to report, and everything that can be asked of it afterwards."""

import ast
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, TINY_CONFIG, tiny_rows, write_jsonl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import build, load
from main import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace with a finished run in experiments/tiny."""
    folder = tmp_path_factory.mktemp("finished")
    write_jsonl(folder / "tiny.jsonl", tiny_rows())
    (folder / "tiny.yaml").write_text(TINY_CONFIG + "seed: 2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["tiny.yaml", "train.num_epochs=4"]) == 0
    return folder


@pytest.fixture
def report(finished: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(finished)
    return json.loads(Path("experiments/tiny/report.json").read_text())


def lines_of(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def hashes(folder: str) -> dict[str, str]:
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_report_holds_what_is_promised(report: dict) -> None:
    for split in ("valid", "test"):
        assert {"loss", "accuracy", "majority_accuracy", "macro_f1", "per_class", "confusion_matrix"} <= set(
            report[split]
        )
        assert set(report[split]["per_class"]["chess"]) == {"precision", "recall", "f1", "support"}
        matrix = np.array(report[split]["confusion_matrix"]["matrix"])
        assert report[split]["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert report["test"]["accuracy"] > 0.8
    assert report["train"]["epochs"] == 4
    assert report["train"]["steps"] == 20  # 72 training texts, 16 a step
    assert report["train"]["seconds"] > 0
    assert report["parameters"] > 0
    assert report["peak_memory_bytes"] > 10**7
    assert {"python", "torch", "git_commit", "dirty"} == set(report["versions"])
    assert report["seeds"] == {"seed": 2, "split_seed": 0}


def test_rows_read_are_used_or_skipped(report: dict) -> None:
    splits = [report["data"][split] for split in ("train", "valid", "test")]
    assert all(split["read"] == split["used"] + sum(split["skipped"].values()) for split in splits)
    assert sum(split["read"] for split in splits) == 120


def test_predictions_are_those_that_were_counted(report: dict) -> None:
    lines = lines_of("experiments/tiny/predictions.jsonl")
    assert len(lines) == report["data"]["test"]["used"]
    assert set(lines[0]) == {"id", "title", "text", "gold", "predicted", "probabilities", "truncated"}
    right = np.mean([line["gold"] == line["predicted"] for line in lines])
    assert report["test"]["accuracy"] == pytest.approx(right)
    for line in lines:
        assert sum(line["probabilities"].values()) == pytest.approx(1)
        assert max(line["probabilities"], key=line["probabilities"].get) == line["predicted"]
        assert line["id"].startswith("tiny.jsonl:")


def test_the_test_command_gives_the_same_numbers(report: dict, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "experiments/tiny", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["loss"] == pytest.approx(report["test"]["loss"], abs=1e-6)
    assert result["confusion_matrix"] == report["test"]["confusion_matrix"]
    assert main(["test", "experiments/tiny", "--data", "tiny.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["used"] == 120


def test_predict_gives_the_lines_of_the_run_whatever_the_batch(report: dict) -> None:
    lines = lines_of("experiments/tiny/predictions.jsonl")
    texts = [{"title": line["title"], "text": line["text"]} for line in lines]
    predictor = load("experiments/tiny")
    together, alone = predictor.predict(texts), [predictor.predict([text])[0] for text in texts]
    for line, one, other in zip(lines, together, alone, strict=True):
        assert one["predicted"] == other["predicted"] == line["predicted"]
        for label, p in line["probabilities"].items():
            assert one["probabilities"][label] == pytest.approx(p, abs=1e-6)
            assert other["probabilities"][label] == pytest.approx(p, abs=1e-6)
    assert "gold" not in together[0]
    assert predictor.predict(["hoist the sail"])[0]["text"] == "hoist the sail"


def test_predict_streams_in_order_and_needs_no_labels(report: dict, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(Path("new.jsonl"), [{"title": row["title"], "text": row["text"]} for row in tiny_rows(50)])
    assert main(["predict", "experiments/tiny", "--input", "new.jsonl", "--output", "out.jsonl"]) == 0
    lines = lines_of("out.jsonl")
    assert [line["text"] for line in lines] == [row["text"] for row in tiny_rows(50)]
    assert "50 rows read = 50 predicted + 0 skipped" in capsys.readouterr().err
    Path("new.csv").write_text("text,title\n" + "".join(f'"{row["text"]}","{row["title"]}"\n' for row in tiny_rows(50)))
    assert main(["predict", "experiments/tiny", "--input", "new.csv", "--output", "-"]) == 0
    from_csv = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["probabilities"] for line in from_csv] == [line["probabilities"] for line in lines]
    assert main(["predict", "experiments/tiny", "--text", "hoist the sail"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["title"], line["text"]) == ("", "hoist the sail")


def test_predict_reads_standard_input_and_names_its_lines(finished: Path) -> None:
    line = json.dumps({"title": "hoist the sail", "text": "and again"})
    command = [sys.executable, str(ROOT / "main.py"), "predict", "experiments/tiny", "--input", "-"]
    result = subprocess.run(command, cwd=finished, input=f"{line}\n" * 3, capture_output=True, text=True, check=True)
    assert [json.loads(out)["id"] for out in result.stdout.splitlines()] == ["stdin:1", "stdin:2", "stdin:3"]


def test_every_step_stands_once_in_the_logs(report: dict) -> None:
    steps = [line["step"] for line in lines_of("experiments/tiny/metrics.jsonl") if line["split"] == "valid"]
    assert steps == [5, 10, 15, 20]
    events = EventAccumulator("experiments/tiny").Reload()
    scalars = events.Tags()["scalars"]
    wanted = {
        "train/loss",
        "train/epoch",
        "train/lr",
        "train/grad_norm",
        "train/texts_per_second",
        "valid/accuracy",
        "with_best_weights/test_macro_f1",
    }
    assert wanted <= set(scalars)
    assert [event.step for event in events.Scalars("valid/accuracy")] == steps
    assert events.Tags()["images"]
    assert any("mistakes" in tag for tag in events.Tags()["tensors"])


def test_a_finished_run_is_left_alone(report: dict, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes("experiments/tiny")
    assert main(["tiny.yaml", "train.num_epochs=4"]) == 0
    assert hashes("experiments/tiny") == before
    assert "finished" in capsys.readouterr().err


def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(workplace: Path) -> None:
    assert main(["tiny.yaml", "name=twice"]) == 0
    assert main(["tiny.yaml", "name=twice", "train.num_epochs=4"]) == 0
    assert main(["tiny.yaml", "name=once", "train.num_epochs=4"]) == 0
    weights = [f"experiments/{name}/checkpoints/step-20/model.safetensors" for name in ("twice", "once")]
    assert Path(weights[0]).read_bytes() == Path(weights[1]).read_bytes()
    assert lines_of("experiments/twice/predictions.jsonl") == lines_of("experiments/once/predictions.jsonl")


def test_an_override_that_changes_the_run_gets_a_folder_of_its_own(workplace: Path) -> None:
    assert main(["tiny.yaml", "optimizer.lr=0.02", "train.num_epochs=1"]) == 0
    assert Path("experiments/tiny-optimizer.lr=0.02/report.json").exists()
    assert main(["tiny.yaml", "optimizer.lr=0.03", "name=tiny-optimizer.lr=0.02"]) == 2
    assert main(["tiny.yaml", "optimizer.lr=0.03", "name=tiny-optimizer.lr=0.02", "--fresh", "train.num_epochs=1"]) == 0


def test_dry_run_reads_nothing_and_makes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.jsonl").unlink()
    assert main(["tiny.yaml", "--dry-run"]) == 0
    output = capsys.readouterr()
    assert yaml.safe_load(output.out)["model"]["embedding_size"] == 16
    # Two encoders of 16 numbers a token with an LSTM in both directions, 4 * 12 * (16 + 12 + 2) each; 48 -> 8 -> labels.
    known, label = 2 * 2 * 4 * 12 * (16 + 12 + 2) + 48 * 8 + 8, 8 + 1
    assert output.err.startswith(
        f"ok: {known:,} parameters + {2 * 16} per vocabulary token + {label} per label, 2 epochs; "
    )
    assert not Path("experiments").exists()


def test_the_python_api_builds_and_runs(workplace: Path) -> None:
    report = build("tiny.yaml", {"train.num_epochs": 1, "name": "api"}).run()
    assert report["train"]["epochs"] == 1
    saved = json.loads(Path("experiments/api/report.json").read_text())
    assert report == {key: value for key, value in saved.items() if key != "digest"}


def test_the_readmes_lines_of_python_run_and_print(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after the config's own run, which is finished by then."""
    (workplace / "configs").mkdir()
    (workplace / "configs/bilstm.yaml").write_text(TINY_CONFIG)
    assert main(["configs/bilstm.yaml", "train.num_epochs=1"]) == 0
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(from agents import .*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    exec(code, {})
    accuracy, lines = capsys.readouterr().out.splitlines()
    report = json.loads(Path("experiments/quick/report.json").read_text())
    assert (float(accuracy), report["train"]["epochs"]) == (report["test"]["accuracy"], 2)
    assert [line["text"] for line in ast.literal_eval(lines)] == ["a text", "and a text"]


def test_two_runs_of_one_config_give_the_same_bits(workplace: Path) -> None:
    for name in ("one", "two"):
        assert main(["tiny.yaml", f"name={name}", "train.num_epochs=1"]) == 0
    weights = [Path(f"experiments/{name}/checkpoints/step-5/model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert main(["tiny.yaml", "seed=2", "name=three", "train.num_epochs=1"]) == 0
    assert Path("experiments/three/checkpoints/step-5/model.safetensors").read_bytes() != weights[0]


def test_a_long_evaluation_says_how_far_it_is(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("utils.machine.progress_bar.PROGRESS_EVERY", 0.0)
    monkeypatch.setattr("utils.machine.progress_bar.StepBar.due", 0.0)  # not what another run here has left
    assert main(["tiny.yaml", "train.num_epochs=1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("evaluating valid: ")][:2] == [
        "evaluating valid: 16 of 24 texts",
        "evaluating valid: 24 of 24 texts",
    ]
    assert "evaluating test: 24 of 24 texts" in lines


def test_a_signal_ends_an_evaluation_after_the_batch_under_way(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build("tiny.yaml")
    for number, num_texts in ((0, 24), (15, 16)):
        monkeypatch.setattr(agent, "signal", lambda number=number: number)
        metrics = agent.new_metrics()
        agent.evaluate("valid", metrics)
        assert int(metrics.counts.sum()) == num_texts
    agent.experiment.close()
