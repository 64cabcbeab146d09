"""On a CUDA device: the losses of the CPU, and how much of the time the device waits. Skipped where there is none."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import build

NUM_STEPS = 20
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ENCODER = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48, "max_positions": 40}
ENCODER |= {"dropout": 0.0, "attention_dropout": 0.0}  # without it attention in 16 bits needs no padding
SHORT = {
    "data.max_length": 40,
    "head.hidden_sizes": [],
    "head.dropout": 0.0,
    "optimizer": {"name": "Adam", "lr": 0.001},
}
MODELS: dict[str, dict[str, object]] = {
    "bilstm": {"optimizer": {"name": "Adam", "lr": 0.01}},
    "bag_of_embeddings": {
        "model": {"name": "bag_of_embeddings", "embedding_size": 16},
        "optimizer": {"name": "Adagrad", "lr": 0.1},
        "tokenizer": {"name": "word", "ngrams": 2},
    },
    "transformer": {"model": {"name": "transformer", "norm": "post", "positions": "rotary", **ENCODER}, **SHORT},
    "bert": {
        "model": {"name": "bert", **ENCODER},
        "tokenizer": {"name": "wordpiece", "special_tokens": True},
        **SHORT,
    },
}


def losses(device: str, model: str) -> list[float]:
    """The loss of each of the first steps, without dropout: its random numbers differ between devices."""
    name = f"{model}-{device}"
    overrides = {"device": device, "name": name, "train.num_steps": NUM_STEPS, "train.log_every": 1, **MODELS[model]}
    build("tiny.yaml", overrides, is_fresh=True).run()
    lines = [json.loads(line) for line in Path(f"experiments/{name}/metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "train"]


@pytest.mark.parametrize("model", MODELS)
def test_the_first_losses_are_those_of_the_cpu(workplace: Path, model: str) -> None:
    write_jsonl(workplace / "tiny.jsonl", tiny_rows(400))
    (workplace / "tiny.yaml").write_text(
        TINY_CONFIG.replace("dropout: 0.2", "dropout: 0.0").replace("0.1\n", "0.0\n", 1)
    )
    on_cpu, on_cuda = losses("cpu", model), losses("cuda", model)
    assert len(on_cpu) == NUM_STEPS
    assert on_cuda == pytest.approx(on_cpu, abs=1e-4)


def test_a_run_goes_on_bit_identically_on_the_same_device(workplace: Path) -> None:
    """With `deterministic: true`, a run of two halves is the whole one."""
    options = {"device": "cuda", "deterministic": True}
    build("tiny.yaml", {**options, "name": "whole", "train.num_epochs": 4}).run()
    build("tiny.yaml", {**options, "name": "halves", "train.num_epochs": 2}).run()
    build("tiny.yaml", {**options, "name": "halves", "train.num_epochs": 4}).run()
    files = [Path(f"experiments/{name}/checkpoints/step-20/model.safetensors") for name in ("whole", "halves")]
    assert files[0].read_bytes() == files[1].read_bytes()


# Mixed precision and the average.


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device as those before Ampere, which have no bfloat16."""
    monkeypatch.setattr("utils.training.precision._short_float", lambda device: torch.float16)


@pytest.fixture(params=["bfloat16", "float16"])
def mixed(request: pytest.FixtureRequest) -> dict[str, object]:
    """The options of a run in mixed precision, in either kind of 16 bits."""
    if request.param == "float16":
        request.getfixturevalue("float16")
    elif not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("needs a CUDA device with bfloat16")
    return {"device": "cuda", "train.precision": "mixed", "train.log_every": 1}


def logged(name: str) -> list[float]:
    lines = [json.loads(line) for line in Path(f"experiments/{name}/metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "train"]


@pytest.mark.parametrize("model", MODELS)
def test_mixed_precision_learns_as_float32_does(workplace: Path, mixed: dict[str, object], model: str) -> None:
    (workplace / "tiny.yaml").write_text(
        TINY_CONFIG.replace("dropout: 0.2", "dropout: 0.0").replace("0.1\n", "0.0\n", 1)
    )
    for precision in ("float32", "mixed"):
        options = {**mixed, "train.precision": precision, "name": precision, "train.num_steps": NUM_STEPS // 2}
        build("tiny.yaml", {**options, **MODELS[model]}).run()
    assert logged("float32") != logged("mixed")
    assert logged("mixed") == pytest.approx(logged("float32"), abs=0.03)


def test_an_averaged_run_in_mixed_precision_goes_on_bit_identically(workplace: Path, mixed: dict[str, object]) -> None:
    options = {**mixed, "deterministic": True, "average.decay": 0.9}
    build("tiny.yaml", {**options, "name": "whole", "train.num_epochs": 4}).run()
    build("tiny.yaml", {**options, "name": "halves", "train.num_epochs": 2}).run()
    build("tiny.yaml", {**options, "name": "halves", "train.num_epochs": 4}).run()
    folders = [Path(f"experiments/{name}/checkpoints/step-20") for name in ("whole", "halves")]
    assert (folders[0] / "model.safetensors").read_bytes() == (folders[1] / "model.safetensors").read_bytes()
    raw = [torch.load(folder / "state.pt", map_location="cpu")["average"]["raw"] for folder in folders]
    assert all(torch.equal(tensor, raw[1][name]) for name, tensor in raw[0].items())


def test_a_gradient_too_large_for_float16_is_left_out_on_the_device(workplace: Path, float16: None) -> None:
    """The host hears of it a step later; the weights have not moved, and the next step moves them."""
    agent = build("tiny.yaml", {"device": "cuda", "train.precision": "mixed", "name": "x"})
    agent.load_checkpoint()
    weights, batches = agent.model.state_dict(), next(iter(agent.data.loaders["train"].train_batches(0, start=0)))
    agent.precision.scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    assert agent.updater.is_masked
    agent.train_step(batches)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.items())
    assert agent.precision.scaler.get_scale() == 2.0**39
    for _ in range(30):
        agent.train_step(batches)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights.items())
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    agent.updater.check()
    agent.log.close()
    agent.experiment.close()


def test_a_step_waits_for_the_device_no_more_than_in_float32(workplace: Path, mixed: dict[str, object]) -> None:
    """Counted by torch, which warns of every call that waits."""
    counts = []
    for name, options in {"plain": {"train.precision": "float32"}, "mixed": {"average.decay": 0.9}}.items():
        agent = build("tiny.yaml", {**mixed, **options, "name": name})
        agent.load_checkpoint()
        batches = next(iter(agent.data.loaders["train"].train_batches(0, start=0)))
        for _ in range(3):  # what a first step makes once
            agent.train_step(batches)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                agent.train_step(batches)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(len([one for one in told if "synchronizing CUDA operation" in str(one.message)]))
        agent.log.close()
        agent.experiment.close()
    assert counts[1] <= counts[0]
