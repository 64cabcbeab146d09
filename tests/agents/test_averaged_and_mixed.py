"""Averaged weights and mixed precision in whole runs: what is validated, kept, tested and predicted with."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agents import build, load
from main import main


def lines_of(name: str, split: str) -> dict[int, dict[str, float]]:
    """The lines of metrics.jsonl by step."""
    lines = [json.loads(line) for line in Path(f"experiments/{name}/metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in lines if line["split"] == split}


def test_the_averaged_weights_are_validated_kept_and_tested_and_never_trained_on(workplace: Path) -> None:
    options = {"train.num_steps": 14, "train.validate_every": "7 steps", "train.log_every": 1, "train.monitor": "-loss"}
    for name, more in {"raw": {}, "averaged": {"average.decay": 0.99}}.items():
        build("tiny.yaml", {**options, **more, "name": name}).run()
    losses = [{step: line["loss"] for step, line in lines_of(name, "train").items()} for name in ("raw", "averaged")]
    assert losses[0] == losses[1], "training does not know of the average"
    report = json.loads(Path("experiments/averaged/report.json").read_text())
    assert report["valid"]["loss"] == lines_of("averaged", "valid")[report["best"]["step"]]["loss"]
    for step in (7, 14):
        assert lines_of("averaged", "valid")[step]["loss"] != lines_of("raw", "valid")[step]["loss"]
        raw, kept = (
            load_file(f"experiments/{name}/checkpoints/step-{step}/model.safetensors") for name in ("raw", "averaged")
        )
        state = torch.load(f"experiments/averaged/checkpoints/step-{step}/state.pt", weights_only=True)["average"]
        assert state["step"] == step
        for name, tensor in state["raw"].items():
            assert torch.equal(tensor, raw[name])
            assert not torch.equal(tensor, kept[name])
    best = load_file(f"experiments/averaged/checkpoints/step-{report['best']['step']}/model.safetensors")
    assert all(
        torch.equal(tensor, best[name]) for name, tensor in load("experiments/averaged").model.state_dict().items()
    )


def test_mixed_precision_is_for_training_alone(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run's steps the layers give 16 bits, in its validations and its test 32; losses and outputs have 32 always."""
    seen: set[tuple[bool, torch.dtype]] = set()
    agent = build("tiny.yaml", {"train.precision": "mixed", "name": "x", "train.num_epochs": 1})
    layer = agent.model.head.layers[0]
    layer.register_forward_hook(lambda _, __, output: seen.add((agent.model.training, output.dtype)))
    compute_loss = agent.compute_loss

    def checked(batch: object) -> object:
        terms, outputs = compute_loss(batch)
        assert outputs.dtype == terms["loss"].dtype == torch.float32
        return terms, outputs

    monkeypatch.setattr(agent, "compute_loss", checked)
    agent.run()
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert {p.dtype for p in agent.model.parameters()} == {torch.float32}


ENCODER = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 32, "max_positions": 40}
ENCODER |= {"dropout": 0.0, "attention_dropout": 0.0}
SHORT = {"data.max_length": 40, "head.hidden_sizes": [], "head.dropout": 0.0}
MODELS: dict[str, dict[str, object]] = {
    "bilstm": {"model": {"name": "bilstm"}},
    "bag_of_embeddings": {"model": {"name": "bag_of_embeddings"}},
    "transformer": {"model": {"name": "transformer", **ENCODER}, **SHORT},
    "rotary": {"model": {"name": "transformer", "norm": "post", "positions": "rotary", **ENCODER}, **SHORT},
    "bert": {
        "model": {"name": "bert", **ENCODER},
        "tokenizer": {"name": "wordpiece", "special_tokens": True},
        **SHORT,
    },
}


# A pre-norm encoder's first gradients, of words of 0.02, are too large for float16: there the first steps are left out, on purpose.
MIXED = [(name, dtype) for name in MODELS for dtype in (torch.bfloat16, torch.float16)]
MIXED.remove(("transformer", torch.float16))
# OneDNN's LSTM learns in float16 on some CPUs only; no run on a CPU asks for it.
MIXED.remove(("bilstm", torch.float16))


@pytest.mark.parametrize(("model", "dtype"), MIXED)
def test_mixed_precision_learns_as_float32_does(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, model: str, dtype: torch.dtype
) -> None:
    """SGD, whose step is as large as the gradient: with Adam a scale that was forgotten would not show."""
    rate = {"transformer": 0.02, "rotary": 0.02, "bert": 0.2}.get(model, 1.0)  # an encoder's losses jump about at more
    monkeypatch.setattr("utils.training.precision._short_float", lambda device: dtype)
    options = {"train.num_steps": 8, "train.log_every": 1, "seed": 2, "optimizer": {"name": "SGD", "lr": rate}}
    losses = []
    for precision in ("float32", "mixed"):
        build("tiny.yaml", {**MODELS[model], **options, "train.precision": precision, "name": precision}).run()
        losses.append([line["loss"] for line in lines_of(precision, "train").values()])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
    assert max(losses[0]) - min(losses[0]) > 0.05
    state = torch.load("experiments/mixed/checkpoints/step-8/state.pt", weights_only=True)["precision"]
    assert state == {"scale": 2.0**16 if dtype == torch.float16 else None, "_growth_tracker": state["_growth_tracker"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["average.decay=1.0"], "average: decay must be between 0 and 1, got 1.0"),
        (["average.steps=3"], "average.steps is not an option of average; its options: decay, last, every"),
        (["train.precision=half"], "train.precision must be one of float32, mixed, auto, got 'half'"),
        (
            [
                "average.decay=0.9",
                "model={name: bag_of_embeddings}",
                "optimizer={name: Adagrad, lr: 0.1}",
                "device=cpu",
            ],
            "average: the word embeddings have sparse gradients, and an average would update all their rows at every step; "
            "use an optimizer with dense ones, such as Adam, or leave the section out",
        ),
    ],
)
def test_what_is_refused_is_refused_before_any_data_is_read(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (workplace / "tiny.jsonl").unlink()
    assert main(["tiny.yaml", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"command line: {message}"
