"""On a CUDA device: the losses of the CPU, and how much of the time the device waits. Skipped where there is none."""

import json
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
MODELS = {
    "bilstm": {"optimizer": {"name": "Adam", "lr": 0.01}},
    "bag_of_embeddings": {
        "model": {"name": "bag_of_embeddings", "embedding_size": 16},
        "optimizer": {"name": "Adagrad", "lr": 0.1},
        "tokenizer": {"name": "word", "ngrams": 2},
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
