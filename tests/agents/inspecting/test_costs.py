"""What a run will cost: operations by hand, batches that stand for all, and estimates beside the run itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY_CONFIG
from torch import nn
from torch.nn import functional

from agents import checked_config
from agents.inspecting.costs import estimate, evaluation, sampled, validations
from agents.inspecting.flops import count_flops
from agents.inspecting.rehearsal import rehearsal, train_steps
from datasets.batches.examples import EVALUATION
from datasets.store.store import SplitData
from graphs.layers.linear import Linear
from main import main


def test_operations_of_an_lstm_are_counted() -> None:
    """4H (I + H) multiplications a token and direction; the backward pass has twice those of the forward pass."""
    lstm = nn.LSTM(5, 7, batch_first=True)
    given = torch.randn(3, 11, 5, requires_grad=True)
    forward = 2 * 3 * 11 * 4 * 7 * (5 + 7)
    assert count_flops(lambda: lstm(given)) == forward
    assert count_flops(lambda: lstm(given)[0].sum().backward()) == 3 * forward


def test_operations_of_a_linear_map_are_counted_whichever_library_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, given = Linear(256, 300), torch.randn(1100, 256, requires_grad=True)  # 1,024 rows in blocks, and some more
    product = 2 * 1100 * 256 * 300
    for is_slow in (False, torch.backends.mkldnn.is_available()):
        monkeypatch.setattr("graphs.layers.linear.mkl_is_slow", lambda is_slow=is_slow: is_slow)
        assert count_flops(lambda: layer(given)) == product
        assert count_flops(lambda: layer(given).sum().backward()) == 3 * product


@pytest.mark.parametrize("has_gradient", [False, True])
def test_operations_of_attention_are_counted(has_gradient: bool) -> None:
    """Two products of T x T x D forward; backward five, since the scores are computed again."""
    query, key, value = (torch.randn(2, 3, 9, 4, requires_grad=has_gradient) for _ in range(3))
    product = 2 * 2 * 3 * 9 * 9 * 4

    def step() -> None:
        out = functional.scaled_dot_product_attention(query, key, value)
        if has_gradient:
            out.sum().backward()

    assert count_flops(step) == (7 if has_gradient else 2) * product


def test_sampled_batches_stand_for_all() -> None:
    sizes = np.random.default_rng(0).lognormal(5, 1, 997)
    chosen = sampled(sizes, 10)
    assert len(set(chosen.tolist())) == 10
    assert sizes[chosen].mean() == pytest.approx(sizes.mean(), rel=0.1)
    assert sorted(sampled(np.array([3, 1, 2]), 3).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("every", "expected"), [("1 epoch", 4), ("3 epochs", 2), ("7 steps", 6), ("100 steps", 1)])
def test_validations_are_counted(every: str, expected: int, workplace: Path) -> None:
    """As often as a run of 4 epochs of 10 steps has them in its log."""
    assert validations(every, 40, 10) == expected
    words = ["data.limit=112", "train.num_epochs=4", "train.batch_size=7", f"train.validate_every={every}"]
    assert main(["tiny.yaml", "name=x", *words]) == 0
    logged = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    assert sum(line["split"] == "valid" for line in logged) == expected


def test_rehearsed_steps_are_the_runs_own(workplace: Path) -> None:
    """The same losses, step by step, as the log of the run has; and nothing is left behind."""
    assert main(["tiny.yaml", "name=x", "train.log_every=1", "seed=3"]) == 0
    logged = [json.loads(line) for line in Path("experiments/x/metrics.jsonl").read_text().splitlines()]
    expected = [line["loss"] for line in logged if line["split"] == "train"]
    with rehearsal(checked_config("tiny.yaml", ["seed=3"])) as agent:
        losses = [step.loss for step in train_steps(agent, len(expected))]
        folder = agent.experiment.folder
    assert losses == expected
    assert len(losses) == 10
    assert not folder.exists()
    assert [path.name for path in Path("experiments").glob("[!.]*")] == ["x"]


def test_a_rehearsal_opens_no_tracker(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would show a run that never was."""
    asked: list[bool] = []
    monkeypatch.setattr("agents.assembled_task.build_tracker", lambda config: asked.append("tracker" in config))
    with rehearsal(checked_config("tiny.yaml", ["tracker.name=trackio"])):
        assert asked == [False]


def test_an_estimate_beside_the_run(workplace: Path) -> None:
    """Within a factor of three even of a run of half a second, on any machine: benchmarks/inspect_estimates.py measures it."""
    words = ["train.num_epochs=20", "model.hidden_size=100"]
    assert main(["tiny.yaml", "name=x", *words]) == 0
    report: dict[str, Any] = json.loads(Path("experiments/x/report.json").read_text())
    with rehearsal(checked_config("tiny.yaml", words)) as agent:
        costs = estimate(agent)
    assert costs.num_steps == report["train"]["steps"] == 100
    assert costs.num_validations == 20
    assert 1 / 3 < costs.train_seconds / report["train"]["seconds"] < 3
    assert costs.flops_per_token > 6 * 2 * 4 * 100 * 116  # two fields of which each token is in one
    assert costs.device_bytes is None


def test_an_evaluation_is_estimated_from_its_own_batches(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the chosen ones is made once, and stands for its share of the tokens."""
    made: list[np.ndarray] = []
    with rehearsal(checked_config("tiny.yaml", ["data.split=[0.2, 0.6, 0.2]", "train.batch_size=4"])) as agent:
        loader = agent.data.loaders["valid"]
        collate = SplitData.collate

        def noted(examples: SplitData, rows: np.ndarray, epoch: int, step: int = 0) -> Any:
            made.append(rows)
            return collate(examples, rows, epoch, step)

        monkeypatch.setattr(SplitData, "collate", noted)
        now = iter([10.0, 13.0])
        monkeypatch.setattr("agents.inspecting.costs.time.perf_counter", lambda: next(now))
        seconds = evaluation(agent, loader)
        lengths = loader.examples.lengths(EVALUATION)
        sizes = [batch.num_tokens for batch in loader.eval_batches()]
    assert len(made) == 2 * 5 + len(sizes) - 5, "five batches, then all of the loader's own"
    assert seconds == pytest.approx(3 * sum(sizes) / sum(lengths[rows].sum() for rows in made[:5]))


def test_a_run_without_validation(workplace: Path) -> None:
    (workplace / "tiny.yaml").write_text(TINY_CONFIG.replace("[0.6, 0.2, 0.2]", "[0.8, 0, 0.2]"))
    with rehearsal(checked_config("tiny.yaml")) as agent:
        assert estimate(agent).evaluation_seconds > 0
