"""Freezing, layer-wise rates and a one-cycle schedule in whole runs: what learns when, exact resume, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_CONFIG
from safetensors.torch import load_file

from agents import build, checked_config, load
from agents.base import BaseAgent
from utils.errors import ConfigError
from utils.optimizers.schedules import OneCycle

OPTIONS: dict[str, Any] = {
    "optimizer": {"name": "AdamW", "lr": 0.05, "weight_decay": 0.1, "layer_decay": 0.7},
    "scheduler": {"name": "one_cycle", "warmup_ratio": 0.4},
    "freeze": {"unfreeze_every": 1},
    "train.num_epochs": 5,
    "train.save_every": "5 steps",  # an epoch
    "train.keep": 100,
}
SMALL = {"hidden_size": 8, "num_heads": 2, "intermediate_size": 12, "num_layers": 2, "max_positions": 40}
Parts = set[str]
MODELS: list[tuple[dict[str, Any], Parts, Parts, Parts]] = [  # model, upper layer and what lies above, lower one, table
    (
        {"name": "bilstm", "embedding_size": 8, "hidden_size": 6, "num_layers": 2, "dropout": 0.1},
        {"forward_layers.1", "backward_layers.1"},
        {"forward_layers.0", "backward_layers.0"},
        {"embedding"},
    ),
    ({"name": "transformer"} | SMALL, {"layers.1", "final_norm"}, {"layers.0"}, {"embeddings"}),
    ({"name": "bert", "pooling": "pooler"} | SMALL, {"layers.1", "pooler"}, {"layers.0"}, {"embeddings"}),
]


def saved(name: str, step: int) -> dict[str, torch.Tensor]:
    return load_file(f"experiments/{name}/checkpoints/step-{step}/model.safetensors")


def changed(name: str, before: int, after: int) -> set[str]:
    """The parts of the two encoders that differ between two steps."""
    first, second = saved(name, before), saved(name, after)
    keys = [key for key in first if key.startswith("encoders.") and not torch.equal(first[key], second[key])]
    return {re.findall(r"encoders\.\d\.(\w*layers\.\d+|\w+)", key)[0] for key in keys}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the run as a kill would, with the checkpoint of the step as the newest."""
    finish_step = BaseAgent.finish_step

    def dying(self: BaseAgent) -> None:
        finish_step(self)
        if self.state.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(BaseAgent, "finish_step", dying)


@pytest.mark.parametrize(
    ("model", "top", "below", "table"), MODELS, ids=lambda value: value.get("name") if isinstance(value, dict) else ""
)
def test_layers_learn_one_after_the_other_and_a_resumed_run_has_the_same_bits(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: dict[str, Any],
    top: Parts,
    below: Parts,
    table: Parts,
) -> None:
    options = OPTIONS | {"model": model, "data.max_length": 40}
    if model.get("pooling") == "pooler":
        options |= {"tokenizer": {"name": "wordpiece", "special_tokens": True}}
    agent = build("tiny.yaml", options | {"name": "whole"})
    start = {name: parameter.detach().clone() for name, parameter in agent.model.named_parameters()}
    agent.run()
    said = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines() if "frozen" in line]
    assert said == [
        "the encoders are frozen",
        "the embeddings and the lowest 1 of 2 layers are frozen",
        "the embeddings are frozen",
        "nothing is frozen",
    ]
    assert all(torch.equal(saved("whole", 5)[name], start[name]) for name in start if name.startswith("encoders."))
    assert changed("whole", 5, 10) == top
    assert changed("whole", 10, 15) == top | below
    assert changed("whole", 15, 20) == top | below | table
    lines = [json.loads(line) for line in Path("experiments/whole/metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["lr"] for line in lines if "lr" in line}
    assert rates == {step: 0.05 * OneCycle(25, warmup_ratio=0.4).factor(step - 1) for step in (10, 20)}, "the head's"
    for step in (7, 15):  # within an epoch, and at its end
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(KeyboardInterrupt):
                build(
                    "tiny.yaml", options | {"name": f"cut-{step}", "train.save_every": "1 step", "train.keep": 1}
                ).run()
        build("tiny.yaml", options | {"name": f"cut-{step}"}).run()
        assert all(torch.equal(tensor, saved("whole", 25)[key]) for key, tensor in saved(f"cut-{step}", 25).items())


def test_frozen_vectors_stay_frozen_when_all_else_learns(workplace: Path) -> None:
    (workplace / "vectors.txt").write_text("sail " + "1.0 " * 15 + "1.0\nunheard " + "2.0 " * 15 + "2.0\n")
    values = {
        "vectors": {"path": "vectors.txt", "freeze": True},
        "freeze": {"layers": 1, "unfreeze_every": 1},
        "head.hidden_sizes": [],
        "head.dropout": 0.0,
    }
    build(
        "tiny.yaml", values | {"train.num_epochs": 4, "train.save_every": "1 step", "train.keep": 100, "name": "x"}
    ).run()
    assert "embedding" not in changed("x", 1, 20)
    assert "forward_layers.0" in changed("x", 10, 15)
    predictor = load("experiments/x")
    assert (
        predictor.model.encoders[0].embedding.weight[predictor.artifacts.tokenizer.ids["sail"]].tolist() == [1.0] * 16
    )


def test_a_bag_with_sparse_gradients_freezes_its_table(workplace: Path) -> None:
    values = {"model": {"name": "bag_of_embeddings"}, "optimizer": {"name": "Adagrad", "lr": 0.1}}
    freeze = {"freeze": {"layers": 0, "unfreeze_every": 1}, "train.save_every": "1 step", "train.keep": 100}
    build("tiny.yaml", values | freeze | {"name": "x"}).run()
    assert "embedding" not in changed("x", 1, 5)
    assert "embedding" in changed("x", 5, 6)


BAG = "model={name: bag_of_embeddings}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.layer_decay=1.5"], "optimizer: layer_decay must be in (0, 1], got 1.5"),
        (
            ["optimizer.layer_decay=0.9", BAG],
            "optimizer: layer_decay needs a model with layers, such as transformer, bert or bilstm",
        ),
        (["freeze={layers: 2}"], "freeze: layers must be all, or from 0 to 1 (the model has no more), got 2"),
        (["freeze={layers: 1}", BAG], "freeze: layers must be all, or from 0 to 0 (the model has no more), got 1"),
        (["freeze={layers: most}"], "freeze.layers must be a whole number or all, got 'most'"),
        (["freeze={unfreeze_every: 0}"], "freeze: unfreeze_every must be at least 1, got 0"),
        (["freeze=all"], "freeze must be a section, such as freeze: {option: value}; got 'all'"),
        (["scheduler={name: inverse_sqrt}"], "scheduler: warmup_steps must be at least 1, or warmup_ratio positive"),
        (
            ["scheduler={name: linear, warmup_ratio: 0.1, warmup_steps: 3}"],
            "scheduler: warmup_ratio cannot be combined with warmup_steps",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY_CONFIG)
    with pytest.raises(ConfigError) as caught:
        checked_config("tiny.yaml", overrides)
    assert str(caught.value).startswith(f"command line: {message}")
    assert "\n" not in str(caught.value)
