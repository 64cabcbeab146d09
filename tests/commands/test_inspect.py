"""inspect and find-lr: what they say of a config, for every agent, and what they refuse."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, assert_refused, tiny_rows, write_jsonl
from small_documents import write_corpus
from small_pairs import write_pairs

from agents import checked_config
from agents.inspecting.data_view import padding
from agents.inspecting.model_view import Part, folded
from agents.inspecting.rehearsal import rehearsal
from datasets.batches.order import epoch_batches
from main import main


def inspected(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["inspect", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_data_is_counted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*tiny_rows(), tiny_rows()[0]]
    write_jsonl(workplace / "tiny.jsonl", rows)
    found = inspected(capsys, "tiny.yaml", "data.split_seed=1")["data"]
    splits = found["splits"]
    assert sum(split["rows"] for split in splits.values()) == 121
    words = [len(row["title"].split()) + len(row["text"].split()) for row in rows]
    assert sum(split["tokens"] for split in splits.values()) == sum(words)
    assert max(split["lengths"]["100"] for split in splits.values()) == max(words)
    for label in ("chess", "cooking", "sailing"):
        assert sum(found["classes"][label].values()) == sum(row["label"] == label for row in rows)
    assert sum(found["repeats"].values()) == 1
    assert splits["train"]["unknown"] < splits["test"]["unknown"]  # the numbers are rare words


def test_padding_is_that_of_the_batches(workplace: Path) -> None:
    with rehearsal(checked_config("tiny.yaml")) as agent:
        loader = agent.data.loaders["train"]
        found, lengths = padding(loader), loader.examples.lengths(0)
    batches = epoch_batches(lengths, batch_size=16, batch_tokens=None, seed=0, epoch=0)
    cells = sum(lengths[rows].max() * len(rows) for rows in batches)
    assert found["by_length"] == pytest.approx(1 - lengths.sum() / cells)
    assert found["at_random"] > found["by_length"]


def test_the_model_is_shown_with_its_shapes(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {part["name"]: part for part in inspected(capsys, "tiny.yaml")["model"]}
    assert parts["encoders.0"]["shape"] == [16, 24]
    assert parts[""]["shape"] == [16, 3]
    assert parts["encoders.1.forward_layers.0"]["num_parameters"] == 4 * 12 * (16 + 12 + 2)
    assert parts[""]["num_parameters"] == sum(
        parts[name]["num_parameters"] for name in ("encoders.0", "encoders.1", "head")
    )
    file, line = parts["encoders.0"]["place"].split(":")
    assert (Path(__file__).parents[2] / file).read_text().splitlines()[int(line) - 1] == "class BiLSTM(nn.Module):"


def test_equal_layers_are_counted() -> None:
    names = ["", "layers.0", "layers.0.a", "layers.1", "layers.1.a", "layers.2", "layers.2.a", "head.layers.0"]
    found = [(part.name, count) for part, count in folded([Part(name, "", "", None, 0) for name in names])]
    assert found == [("", 0), ("layers.0", 2), ("layers.0.a", 0), ("head.layers.0", 0)]


@pytest.mark.parametrize("write", [write_corpus, write_pairs], ids=["documents", "pairs"])
def test_every_agent_is_inspected(workplace: Path, capsys: pytest.CaptureFixture[str], write: Any) -> None:
    write(workplace)
    config = "documents.yaml" if write is write_corpus else "pairs.yaml"
    assert main(["inspect", config]) == 0
    out = capsys.readouterr().out
    assert "encoders.0.layers.0  and 1 more" in out
    assert re.search(r" [\d,]+ operations a token", out)
    assert list(Path().glob("experiments/*")) == []


def test_a_regression(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(workplace / "tiny.jsonl", [{**row, "number": float(i)} for i, row in enumerate(tiny_rows())])  # type: ignore[list-item]
    (workplace / "tiny.yaml").write_text((workplace / "tiny.yaml").read_text().replace("classification", "regression"))
    assert inspected(capsys, "tiny.yaml", "data.label=number")["data"]["classes"] == {}


def test_a_rate_is_suggested_from_a_range(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find-lr", "tiny.yaml", "--steps", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lrs, losses = np.array([[point["lr"], point["loss"]] for point in found["points"]]).T
    assert lrs[0] == pytest.approx(1e-6)
    assert np.allclose(np.diff(np.log(lrs)), np.log(1e7) / 59)
    assert 1e-4 < found["suggested"] < 0.3
    assert losses[0] == pytest.approx(np.log(3), rel=0.1)
    assert list(Path().glob("experiments/*")) == []
    assert main(["find-lr", "tiny.yaml", "--steps", "60", "--output", "rates.svg"]) == 0
    assert f"suggested: {found['suggested']:.2g}" in Path("rates.svg").read_text()
    assert f"optimizer.lr={found['suggested']:.2g} (the config has 0.05)" in capsys.readouterr().out


def test_no_validation_is_counted_without_a_split_for_it(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "tiny.yaml", "data.split=[1,0,0]", "train.patience=null"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("a run: ")]
    assert ", 0 validations in " in line
    assert "and the test" not in line


def test_a_first_loss_that_is_no_number_is_said(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.rows.targets.LARGEST", 1e30)
    write_jsonl(Path("tiny.jsonl"), [{**row, "score": 1e25 * i} for i, row in enumerate(tiny_rows())])
    assert main(["find-lr", "tiny.yaml", "agent=regression", "data.label=score", "--steps", "10"]) == 6
    assert "is not finite" in capsys.readouterr().err.splitlines()[-1]


def test_no_rate_is_suggested_where_nothing_is_learnt(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find-lr", "tiny.yaml", "--high", "1e-5", "--steps", "20"]) == 0
    assert "did not fall" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tiny.yaml", "--low", "1", "--high", "0.1"], "--low"),
        (["tiny.yaml", "--low", "0"], "--low"),
        (["tiny.yaml", "--steps", "3"], "--steps"),
        (["tiny.yaml", "--output", "rates.png"], "must end in .svg"),
        (["tiny.yaml", "model.name=lstm"], "lstm"),
        (["none.yaml"], "none.yaml"),
    ],
)
def test_bad_ranges(run_here: Run, words: list[str], said: str) -> None:
    assert_refused(run_here("find-lr", *words), 2, said)
