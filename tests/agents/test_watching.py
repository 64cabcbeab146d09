"""The section `tensorboard`: what it shows is right, and every run with it learns to the bit what it learns without."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_documents
import small_pairs
import torch
from conftest import tiny_rows, write_jsonl
from faults import DIED
from jobs import Job
from lab import Lab, preload
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import build
from main import main
from utils.training import tracing

ON = "tensorboard={histograms: 2 steps, graph: true, profile: 2, projector: true}"
FULL = pytest.mark.full
FILES = {"classification": "bilstm", "regression": "bilstm", "pretraining": "documents", "seq2seq": "pairs"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    preload("torch.utils.tensorboard")
    preload("toys")
    lab = Lab(tmp_path_factory.mktemp("watched"))
    write_jsonl(lab.folder / "tiny.jsonl", [row | {"number": i % 3} for i, row in enumerate(tiny_rows())])
    small_documents.write_corpus(lab.folder)
    (lab.folder / "pairs.yaml").write_text(small_pairs.CONFIG)
    return lab


def finish(lab: Lab, agent: str, name: str, *words: str, code: int = 0, **faults: Any) -> str:
    """A run to its end; -> what it wrote to stderr."""
    words = (f"agent={agent}", *(["data.label=number"] if agent == "regression" else []), *words)
    return lab.finish(FILES[agent], name, *words, "train.num_epochs=3", "train.log_every=1", code=code, **faults).stderr


def learnt(lab: Lab, name: str) -> dict[str, Any]:
    """All that two runs must have in common to the bit."""
    results = lab.results(name)
    return {key: value for key, value in results.items() if key != "report"}


def shown(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"histograms": 0, "tensors": 0, "images": 0}).Reload()


def warnings_in(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("warning:")]


QUICK = ("classification", "pretraining")


@pytest.mark.parametrize("agent", [name if name in QUICK else pytest.param(name, marks=FULL) for name in FILES])
def test_a_run_learns_the_same_bits_with_all_of_it_and_shows_it(lab: Lab, agent: str) -> None:
    finish(lab, agent, f"{agent}-off")
    errors = finish(lab, agent, f"{agent}-on", ON)
    assert warnings_in(errors) == []
    assert learnt(lab, f"{agent}-on") == learnt(lab, f"{agent}-off")
    folder = lab.path(f"{agent}-on")
    events, num_steps = shown(folder), json.loads((folder / "report.json").read_text())["train"]["steps"]
    names = list(load_file(max(folder.glob("checkpoints/step-*")) / "model.safetensors"))
    parameters = [tag.partition("/")[2] for tag in events.Tags()["histograms"] if tag.startswith("weights/")]
    assert sorted(parameters) == sorted(names)
    for tag in events.Tags()["histograms"]:
        assert [event.step for event in events.Histograms(tag)] == list(range(2, num_steps + 1, 2))
    assert any("encoder" in node.name.lower() or "LSTM" in node.name for node in events.Graph().node)
    trace = json.loads((folder / "profile.pt.trace.json").read_text())["traceEvents"]
    optimizer_steps = [event for event in trace if event["name"].startswith("Optimizer.step#")]
    assert len(optimizer_steps) == 2
    views = (folder / "projector_config.pbtxt").read_text().count("embeddings {")
    assert views == {"classification": 3, "regression": 3, "pretraining": 1, "seq2seq": 1}[agent]


def test_an_agent_with_batches_and_answers_of_its_own_is_shown_too(lab: Lab) -> None:
    """That of toys.py: no `predicted` in its lines, no tokens in its examples, a batch that holds a batch of texts."""
    words = ["bilstm.yaml", "agent=masked", "train.num_epochs=2", "data.cache_folder=.cache-shared"]
    for name, more in {"toy-off": [], "toy-on": [ON]}.items():
        run = lab.command(*words, f"name={name}", *more)
        assert run.wait(60) == 0, run.stderr
    assert warnings_in(run.stderr) == []
    assert shown(lab.path("toy-on")).Tags()["graph"]
    assert learnt(lab, "toy-on") == learnt(lab, "toy-off")
    assert len((lab.path("toy-on") / "projector/test_texts.tsv").read_text().splitlines()) == 25


def test_histograms_are_those_of_the_weights_and_gradients(workplace: Path) -> None:
    agent: Any = build("tiny.yaml", {"name": "x", "tensorboard.histograms": "1 epoch", "train.num_epochs": 2})
    kept: dict[str, np.ndarray] = {}
    after = agent.finish_step

    def note() -> None:
        if agent.state.step == 10:
            for name, parameter in agent.model.named_parameters():
                kept[f"weights/{name}"] = parameter.detach().double().numpy().ravel().copy()
                kept[f"gradients/{name}"] = parameter.grad.double().numpy().ravel().copy()
        after()

    agent.finish_step = note
    agent.run()
    events = shown(Path("experiments/x"))
    assert set(events.Tags()["histograms"]) == set(kept)
    for tag, values in kept.items():
        first, last = events.Histograms(tag)
        assert (first.step, last.step) == (5, 10)
        found = last.histogram_value
        assert (found.min, found.max, found.num) == (values.min(), values.max(), len(values))
        assert found.sum == pytest.approx(values.sum(), abs=1e-6)
        assert found.sum_squares == pytest.approx((values**2).sum(), abs=1e-6)
        below = [(values < limit).sum() for limit in found.bucket_limit]
        assert np.cumsum(found.bucket).tolist() == below


@pytest.mark.parametrize("model", [pytest.param("bilstm", marks=FULL), "bag_of_embeddings"])
def test_a_killed_run_shows_every_step_once_and_ends_with_the_same_bits(lab: Lab, model: str) -> None:
    """Also with sparse gradients, those of the bag of embeddings under SGD."""
    words = ["optimizer={name: SGD, lr: 0.3}"] if model == "bag_of_embeddings" else []
    lab.finish(model, f"{model}-whole", *words, "train.num_epochs=3")
    whole = learnt(lab, f"{model}-whole")
    saved = {"pattern": r"fsync .*/checkpoints", "n": 2}
    cut = [model, f"{model}-cut", *words, "train.num_epochs=3", ON]
    assert lab.start(*cut, die_at=saved).wait() == DIED
    run = lab.start(*cut)
    assert run.wait(60) == 0, run.stderr
    assert learnt(lab, f"{model}-cut") == whole
    events = shown(lab.path(f"{model}-cut"))
    for tag in events.Tags()["histograms"]:
        steps = [event.step for event in events.Histograms(tag)]
        assert steps == sorted(set(steps))
        assert len(steps) >= 6  # of 15 steps
    for tag in ("test/pr/chess", "test/pr/cooking"):
        assert len(events.Tensors(tag)) == 1
    assert len(events.Images("test/calibration")) == 1


def test_a_signal_in_the_middle_of_a_trace_leaves_a_run_that_goes_on(lab: Lab) -> None:
    words = ["bilstm", "signalled", "tensorboard={profile: 1000, histograms: 1 epoch}", "train.num_epochs=200"]
    run = lab.start(*words, "train.patience=null")
    while run.wait(0.01) is None and not any(lab.path("signalled").glob("checkpoints/step-*[0-9]")):
        pass

    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(60) == 143, run.stderr
    assert not (lab.path("signalled") / "profile.pt.trace.json").exists()
    assert lab.leftovers() == []
    step = max(line["step"] for line in lab.metrics("signalled"))
    more = [*words[:2], "tensorboard={profile: 2}", f"train.num_steps={step + 9}"]
    lab.finish(*more)
    assert (lab.path("signalled") / "profile.pt.trace.json").exists()


def test_fresh_removes_all_that_it_has_written_and_nothing_else(workplace: Path) -> None:
    assert main(["tiny.yaml", "name=x", ON]) == 0
    before = {path.name for path in Path("experiments/x").rglob("*")}
    assert {"profile.pt.trace.json", "projector_config.pbtxt", "test_texts.tsv"} <= before
    own = Path("experiments/x/projector/notes.tsv")
    own.write_text("mine\n")
    assert main(["tiny.yaml", "name=x", "--fresh"]) == 5
    assert own.exists()
    own.unlink()
    assert main(["tiny.yaml", "name=x", "--fresh"]) == 0
    after = {path.name for path in Path("experiments/x").rglob("*")}
    assert not after & {"profile.pt.trace.json", "projector_config.pbtxt", "projector"}


def test_a_finished_run_is_tested_and_predicts_without_any_of_it(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", "name=x", ON]) == 0
    before = sorted(Path("experiments/x").rglob("*"))
    capsys.readouterr()
    assert main(["test", "experiments/x", "--json"]) == 0
    report = json.loads(Path("experiments/x/report.json").read_text())
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(report["test"]["loss"], abs=1e-6)
    assert main(["predict", "experiments/x", "--text", "hoist the sail"]) == 0
    assert sorted(Path("experiments/x").rglob("*")) == before
    assert main(["tiny.yaml", "name=x", "train.num_epochs=3"]) == 0  # goes on without it: the options are free


def test_the_vectors_are_what_the_head_was_given(workplace: Path) -> None:
    agent: Any = build("tiny.yaml", {"name": "x", "tensorboard.projector": True, "train.num_epochs": 3})
    agent.run()
    folder = Path("experiments/x/projector")
    vectors = np.fromfile(folder / "test_texts.bytes", np.float32).reshape(24, -1)
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    with torch.no_grad():
        logits = agent.model.eval().head(torch.from_numpy(vectors))
    shares = torch.tensor([list(line["probabilities"].values()) for line in lines])
    assert torch.allclose(logits.softmax(dim=-1), shares, atol=1e-6)
    rows = [row.split("\t") for row in (folder / "test_texts.tsv").read_text().splitlines()[1:]]
    expected = [[line["gold"], line["predicted"], line["id"], f"{line['title']} / {line['text']}"] for line in lines]
    assert rows == expected
    words = [row.split("\t") for row in (folder / "vocabulary-encoders.1.embedding.tsv").read_text().splitlines()[1:]]
    counts = [int(count) for _, count in words]
    assert counts == sorted(counts, reverse=True)
    tokens = agent.data.splits["train"].fields
    number = agent.artifacts.tokenizer.ids["the"]
    assert words[[word for word, _ in words].index("the")][1] == str(sum((f.ids == number).sum() for f in tokens))
    table = np.fromfile(folder / "vocabulary-encoders.1.embedding.bytes", np.float32).reshape(len(words), -1)
    own = agent.model.encoders[1].embedding.weight[number]
    assert np.array_equal(table[[word for word, _ in words].index("the")], own.detach().numpy())


def test_curves_of_several_labels_a_text_are_written(workplace: Path) -> None:
    rows = [row | {"label": [row["label"], "a/b"][: 1 + i % 2]} for i, row in enumerate(tiny_rows())]
    write_jsonl(workplace / "tiny.jsonl", rows)  # type: ignore[arg-type]
    words = ["data.multi_label=true", "metrics=[micro_f1, ece]", "train.monitor=-loss"]
    assert main(["tiny.yaml", "name=x", *words]) == 0
    events = shown(Path("experiments/x"))
    assert {"test/pr/a/b", "test/pr/chess"} <= set(events.Tags()["tensors"])
    (point,) = events.Scalars("with_best_weights/test_ece")
    report = json.loads(Path("experiments/x/report.json").read_text())
    assert point.value == pytest.approx(report["test"]["ece"])


# What cannot be shown.


def test_a_model_that_cannot_be_traced_costs_one_warning(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any, *tensors: Any) -> Any:
        print("an error of the tracer")
        raise RuntimeError("an output\nthat no trace can have")

    assert main(["tiny.yaml", "name=plain"]) == 0
    monkeypatch.setattr(tracing.Model, "forward", refuse)
    capsys.readouterr()
    assert main(["tiny.yaml", "name=x", "tensorboard.graph=true"]) == 0
    output = capsys.readouterr()
    (line,) = warnings_in(output.err)
    assert line.startswith("warning: tensorboard.graph: the model cannot be traced (an output that no trace can have")
    assert "tracer" not in output.out
    assert not shown(Path("experiments/x")).Tags()["graph"]
    assert "with_best_weights/test_accuracy" in shown(Path("experiments/x")).Tags()["scalars"], "the log goes on"
    weights = [Path(f"experiments/{n}/checkpoints/step-10/model.safetensors").read_bytes() for n in ("plain", "x")]
    assert weights[0] == weights[1]


def test_a_run_that_fails_ends_its_trace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent: Any = build("tiny.yaml", {"name": "x", "tensorboard.profile": 1000})
    after = agent.finish_step

    def fail() -> None:
        after()
        if agent.state.step == 7:
            assert agent.watch.profile.profiler is not None
            raise ValueError("in step 7")

    monkeypatch.setattr(agent, "finish_step", fail)
    with pytest.raises(ValueError, match="in step 7"):
        agent.run()
    assert agent.watch.profile.profiler is None


def test_a_full_disk_costs_one_warning_for_each_file(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.machine.profiling.write_trace", full)
    monkeypatch.setattr("utils.runs.projector.Projector._write", full)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_histogram", full)
    assert main(["tiny.yaml", "name=x", ON]) == 0
    words = [line.partition(" cannot")[0] for line in warnings_in(capsys.readouterr().err)]
    assert words == ["warning: TensorBoard", "warning: profile.pt.trace.json", "warning: the projector"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "tensorboard.histograms=often",
            "tensorboard: histograms must be such as '200 steps' or '1 epoch', got 'often'",
        ),
        ("tensorboard.profile=0", "tensorboard: profile must be at least 1, got 0"),
        ("tensorboard.graf=true", "tensorboard.graf is not an option of tensorboard; did you mean graph?"),
        ("tensorboard=true", "tensorboard must be a section"),
    ],
)
def test_bad_values_are_refused(word: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", word, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


# Several processes.


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=FULL), "fsdp"])
def test_several_processes_show_what_one_shows(lab: Lab, strategy: str) -> None:
    words = ["bilstm.yaml", "model.dropout=0", "head.dropout=0", "optimizer.lr=0.003", "train.num_epochs=2"]
    words = [*words, ON, "data.cache_folder=.cache-shared"]
    if not lab.path("alone").exists():
        lab.does(*words, "name=alone")
    job = Job(lab, 2, *words, f"distributed.strategy={strategy}", f"name={strategy}")
    assert job.wait() == [0, 0], job.errors
    told = [line for errors in job.errors for line in warnings_in(errors)]
    assert len(told) == (strategy == "fsdp")
    assert all("fsdp no process has the whole" in line for line in told)
    one, two = shown(lab.path("alone")), shown(lab.path(strategy))
    assert set(two.Tags()["histograms"]) == set(one.Tags()["histograms"])
    for tag in one.Tags()["histograms"]:
        for mine, theirs in zip(one.Histograms(tag), two.Histograms(tag), strict=True):
            assert mine.step == theirs.step
            assert theirs.histogram_value.num == mine.histogram_value.num
            assert theirs.histogram_value.max == pytest.approx(mine.histogram_value.max, rel=1e-2, abs=1e-5)
    for name in ("test_texts", "vocabulary-encoders.0.embedding"):
        tables = [(lab.path(run) / f"projector/{name}.tsv").read_text() for run in ("alone", strategy)]
        assert [line.split("\t")[::2] for line in tables[0].splitlines()] == [
            line.split("\t")[::2] for line in tables[1].splitlines()
        ]
        vectors = [np.fromfile(lab.path(run) / f"projector/{name}.bytes", np.float32) for run in ("alone", strategy)]
        assert vectors[0] == pytest.approx(vectors[1], abs=1e-3)
    assert (lab.path(strategy) / "profile.pt.trace.json").exists()
