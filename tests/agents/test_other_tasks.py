"""Agents of other tasks in the loop: outputs of any form, metrics of their own, and predictions as small lines."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import agents
from agents.base import BaseAgent
from agents.running.building import build_model
from agents.running.text_data import TextArtifacts, text_sections
from datasets.batches.text_batch import TextBatch as Batch
from datasets.rows.targets import Target
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward
from main import main
from utils.config.schema import Section


class MaskedTokens(BaseAgent):
    """Guesses the first token of every field from the others: a number of outputs that differs between batches, in a dict."""

    sections: ClassVar[dict[str, Section]] = {
        **text_sections(Target),
        "model": Section(ENCODERS),
        "head": Section(shared=FeedForward),
        **BaseAgent.sections,
    }

    def build_model(self, artifacts: TextArtifacts) -> nn.Module:
        size = artifacts.tokenizer.vocab_size
        return build_model(self.config, size, size, self.device)

    def build_loss(self, artifacts: TextArtifacts) -> nn.Module:
        return nn.CrossEntropyLoss(reduction="sum")

    def masked(self, batch: Batch) -> tuple[list[dict[str, Tensor]], Tensor]:
        """The fields with every second text's first token hidden, and those tokens: (M,) of the B texts."""
        ids = batch.fields[0]["input_ids"].clone()
        rows = torch.from_numpy(batch.rows % 2 == 0)
        ids[rows, 0] = 1
        return [batch.fields[0] | {"input_ids": ids}, *batch.fields[1:]], torch.where(
            rows, batch.fields[0]["input_ids"][:, 0], -100
        )

    def compute_loss(self, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        fields, gold = self.masked(batch)
        logits, is_asked = self.model(fields), gold >= 0
        outputs = {"logits": logits[is_asked], "gold": gold[is_asked], "sizes": (len(gold), is_asked)}
        return {"loss": self.loss(logits, gold)}, outputs

    def count(self, batch: Batch) -> dict[str, float]:
        return {"loss": float((self.masked(batch)[1] >= 0).sum())}

    def new_metrics(self) -> Any:
        return Hits()


class WithPredictions(MaskedTokens):
    """The same, with a line for each text."""

    metrics = ("hits",)
    monitor = "+hits"

    def predictions(self, batch: Batch, outputs: Any) -> list[Any]:
        guessed = iter(outputs["logits"].argmax(dim=-1).tolist())
        _, is_asked = outputs["sizes"]
        return [
            {"row": row, "guess": next(guessed) if asked else None}
            for row, asked in zip(batch.rows.tolist(), is_asked.tolist(), strict=True)
        ]


class Hits:
    """The share of right guesses."""

    def __init__(self) -> None:
        self.counts = torch.zeros(2, dtype=torch.int64)

    def update(self, outputs: Any, batch: Batch) -> None:
        assert not outputs["logits"].requires_grad or not torch.is_grad_enabled()
        right = (outputs["logits"].argmax(dim=-1) == outputs["gold"]).sum()
        self.counts += torch.stack([right, torch.tensor(len(outputs["gold"]))])

    def compute(self) -> dict[str, float]:
        return {"hits": float(self.counts[0]) / max(1, int(self.counts[1]))}

    report = compute


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.setitem(agents.AGENTS, "masked", MaskedTokens)
    monkeypatch.setitem(agents.AGENTS, "lines", WithPredictions)


def test_outputs_of_any_form_go_to_the_end() -> None:
    assert main(["tiny.yaml", "agent=masked", "name=x"]) == 0
    report = json.loads(Path("experiments/x/report.json").read_text())
    assert report["best"]["monitor"] == "-loss", "the default of an agent that declares nothing"
    assert 0 <= report["test"]["hits"] <= 1
    assert not Path("experiments/x/predictions.jsonl").exists()


def test_predictions_are_one_line_a_row_in_the_order_of_the_rows() -> None:
    assert main(["tiny.yaml", "agent=lines", "name=x", "train.num_epochs=3"]) == 0
    report = json.loads(Path("experiments/x/report.json").read_text())
    lines = [json.loads(line) for line in Path("experiments/x/predictions.jsonl").read_text().splitlines()]
    assert len(lines) == report["data"]["test"]["used"]
    rows = [line["row"] for line in lines]
    assert rows == sorted(rows)
    assert all((line["guess"] is None) == (line["row"] % 2 == 1) for line in lines)
    assert report["best"]["monitor"] == "+hits"


def test_a_wrong_number_of_lines_is_a_bug_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WithPredictions, "predictions", lambda self, batch, outputs: [1])
    with pytest.raises(ValueError, match="zip"):
        main(["tiny.yaml", "agent=lines", "name=x", "train.num_epochs=1"])


@pytest.mark.parametrize("word", ["train.monitor=+accuracy", "train.monitor=+hit", "metrics=[accuracy]"])
def test_a_metric_that_an_agent_does_not_compute_is_refused_by_a_dry_run(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tiny.jsonl").unlink()
    assert main(["tiny.yaml", "agent=lines", "--dry-run", word]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "there is no metric" in line
    assert line.endswith("known: loss, hits" if "monitor" in word else "known: hits")


def test_a_metric_of_an_agent_that_declares_none_is_refused_at_the_first_validation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tiny.yaml", "agent=masked", "train.monitor=+accuracy", "name=x"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "train.monitor: there is no metric 'accuracy'; known: loss, hits"
    )
    assert main(["tiny.yaml", "agent=masked", "train.monitor=+hits", "name=y"]) == 0


# Weights from a run of another task.


def test_the_encoders_of_another_task_are_taken_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "agent=masked", "name=first", "train.num_epochs=1"]) == 0
    capsys.readouterr()
    agent = agents.build("tiny.yaml", {"init_from": "experiments/first", "name": "second"})
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("init_from"))
    assert line == (
        "init_from: weights of experiments/first: encoders.0, encoders.1, head.layers.0; "
        "newly initialised: head.layers.3 (a new last layer, since it is a run of agent masked); not used: head.layers.3"
    )
    step = json.loads(Path("experiments/first/report.json").read_text())["best"]["step"]
    first = load_file(f"experiments/first/checkpoints/step-{step}/model.safetensors")
    second = agent.model.state_dict()
    assert {name for name in first if second[name].shape == first[name].shape and second[name].equal(first[name])} == {
        name for name in first if not name.startswith("head.layers.3.")
    }
    assert agent.run()["test"]["loss"] > 0


def test_another_head_is_newly_made_and_a_missing_encoder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=first", "train.num_epochs=1"]) == 0
    words = ["tiny.yaml", "init_from=experiments/first", "train.num_epochs=1"]
    assert main([*words, "head.hidden_sizes=[]", "head.dropout=0.0", "name=second"]) == 0
    assert (
        "encoders.0, encoders.1; newly initialised: head.layers.0; not used: head.layers.0, head.layers.3"
        in capsys.readouterr().err
    )
    assert main([*words, "data.join_fields=true", "name=third"]) == 0
    assert "not used: encoders.1" in capsys.readouterr().err
    joined = ["tiny.yaml", "data.join_fields=true", "name=fourth", "train.num_epochs=1"]
    assert main(joined) == 0
    capsys.readouterr()
    assert main(["tiny.yaml", "init_from=experiments/fourth", "name=fifth"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "init_from: experiments/fourth has no fitting weights for encoders.1.embedding.weight" in line
    assert len(line) < 700
