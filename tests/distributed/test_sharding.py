"""FSDP: the same losses as DDP, the same checkpoint files, and runs that move between one process, DDP and FSDP."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from jobs import Job
from lab import Lab, of_tier

from utils.optimizers.building import OPTIMIZERS

STEPS = 24
OPTIONS = ["train.log_every=1", "train.num_epochs=100", "train.save_every=8 steps", "data.cache_folder=.cache"]
PLAIN = ["model.dropout=0", "head.dropout=0", "optimizer.lr=0.003"]
TRANSFORMER = [
    "model={name: transformer, hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 32, dropout: 0, attention_dropout: 0}",
    "data.max_length=64",
    "head.dropout=0",
    "optimizer.lr=0.001",
]
CASES = {
    "bilstm": PLAIN,
    "transformer": TRANSFORMER,
    "R-Drop, an average, decayed layers": [
        *TRANSFORMER,
        "loss.r_drop=1",
        "average.decay=0.9",
        "optimizer.layer_decay=0.8",
    ],
    "checkpointed activations, bfloat16": [*TRANSFORMER, "model.checkpoint_activations=true", "train.precision=mixed"],
    "gradual unfreezing": [*TRANSFORMER, "freeze={layers: 2, unfreeze_every: 1}"],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sharding"))


def train(lab: Lab, name: str, strategy: str, size: int, num_steps: int, words: list[str]) -> Job:
    options = [*OPTIONS, *words, f"name={name}", f"train.num_steps={num_steps}", f"distributed.strategy={strategy}"]
    job = Job(lab, size, "bilstm.yaml", *options)
    assert job.wait() == [0] * size, job.errors
    return job


def losses(lab: Lab, name: str) -> list[float]:
    return [line["loss"] for line in lab.metrics(name) if line["split"] == "train"]


def weights(lab: Lab, name: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(Path(lab.path(name)) / f"checkpoints/step-{STEPS}/model.safetensors")


@pytest.mark.parametrize("case", of_tier(list(CASES)[1:2], list(CASES)))
def test_fsdp_trains_what_ddp_does(lab: Lab, case: str) -> None:
    for strategy in ("ddp", "fsdp"):
        train(lab, f"{case}-{strategy}", strategy, 2, STEPS, CASES[case])
    ddp, fsdp = (losses(lab, f"{case}-{strategy}") for strategy in ("ddp", "fsdp"))
    assert len(ddp) == STEPS
    assert fsdp == pytest.approx(ddp, rel=1e-5)
    whole = weights(lab, f"{case}-ddp")
    for name, tensor in weights(lab, f"{case}-fsdp").items():
        assert tensor.shape == whole[name].shape
        torch.testing.assert_close(tensor, whole[name], atol=1e-4, rtol=0)


MOVES = [("ddp", 1), ("fsdp", 2), ("ddp", 2), ("fsdp", 3), ("ddp", 1)]


def test_a_run_moves_between_one_process_ddp_and_fsdp(lab: Lab) -> None:
    words = [*TRANSFORMER, "average.decay=0.9", "optimizer.name=AdamW", "scheduler={name: constant}"]
    train(lab, "still", "ddp", 1, STEPS, words)
    for number, (strategy, size) in enumerate(MOVES, start=1):
        job = train(lab, "moving", strategy, size, STEPS * number // len(MOVES), words)
        warnings = [line for text in job.errors for line in text.splitlines() if "is not bit-exact" in line]
        sizes = [other for _, other in MOVES[max(0, number - 2) : number]]
        changed = f"warning: world_size was {sizes[0]} and is {size}: the resumed run is not bit-exact"
        assert warnings == ([changed] if size != sizes[0] else [])
    assert losses(lab, "moving") == pytest.approx(losses(lab, "still"), rel=1e-5)
    one = weights(lab, "still")
    for name, tensor in weights(lab, "moving").items():
        torch.testing.assert_close(tensor, one[name], atol=1e-4, rtol=0)


UNCUT = ["Adafactor", "Muon"]


@pytest.mark.parametrize("name", of_tier(["AdamW", "SGD"], [name for name in OPTIMIZERS if name not in UNCUT]))
def test_an_optimizer_of_cut_weights(lab: Lab, name: str) -> None:
    words = [*TRANSFORMER, f"optimizer={{name: {name}, lr: 0.001}}", "train.max_grad_norm=0.5"]
    for strategy in ("ddp", "fsdp"):
        train(lab, f"{name}-{strategy}", strategy, 2, 9, words)
    assert losses(lab, f"{name}-fsdp") == pytest.approx(losses(lab, f"{name}-ddp"), rel=1e-5)


SPARSE = ["bag_of_embeddings.yaml", "optimizer={name: SGD, lr: 0.1}"]
REFUSED = {"sparse gradients": (SPARSE, "a table of words with sparse gradients")}
REFUSED |= {name: (["bilstm.yaml", f"optimizer={{name: {name}}}"], f"what optimizer {name} keeps") for name in UNCUT}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cut_is_refused(lab: Lab, case: str) -> None:
    words, message = REFUSED[case]
    run = lab.command(*words, "distributed.strategy=fsdp")
    assert run.wait() == 2
    assert f"distributed: strategy fsdp cannot cut {message}" in run.stderr
