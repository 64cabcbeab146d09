"""inspect --labels: models that have not seen a row judge its label."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, assert_refused, tiny_rows, write_jsonl

from agents import checked_config
from agents.inspecting.cross_validation import Part, label_errors, predicted
from agents.inspecting.rehearsal import rehearsal
from main import main

BAG = [
    "model={name: bag_of_embeddings, embedding_size: 16}",
    "head.hidden_sizes=[]",
    "head.dropout=0",
    "train.num_epochs=8",
]


def planted(folder: Path, count: int) -> set[str]:
    """tiny.jsonl with ids, some rows with a wrong label; -> their ids."""
    rows: list[dict[str, Any]] = [{**row, "id": f"r{i}"} for i, row in enumerate(tiny_rows())]
    wrong = random.Random(0).sample(rows, count)
    for row in wrong:
        row["label"] = {"cooking": "chess", "chess": "sailing", "sailing": "cooking"}[row["label"]]
    write_jsonl(folder / "tiny.jsonl", rows)
    return {row["id"] for row in wrong}


def test_planted_errors_are_the_surest(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = planted(workplace, 6)
    assert main(["inspect", "tiny.yaml", *BAG, "data.id=id", "data.split=[1, 0, 0]", "--labels", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 120
    assert len({line["id"] for line in lines[:8]} & wrong) >= 5
    assert all(line["suggested"] != line["label"] for line in lines[:5])
    assert [line["probability"] for line in lines] == sorted(line["probability"] for line in lines)
    assert not list(Path("experiments").glob("[!.]*"))
    assert main(["inspect", "tiny.yaml", *BAG, "data.id=id", "data.split=[1, 0, 0]", "--labels", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert lines[2]["id"] in out
    assert lines[3]["text"][:80] not in out
    assert "the 3 surest of 120 training rows" in out


def test_no_row_is_judged_by_a_model_that_has_seen_it(workplace: Path) -> None:
    """A model with a weight for each row's own number knows the labels of its rows by heart, and of no other."""
    rows = [{"title": f"word{i}", "text": f"word{i}", "label": "ab"[i % 2]} for i in range(40)]
    write_jsonl(workplace / "tiny.jsonl", rows)
    config = checked_config(
        "tiny.yaml", [*BAG[:3], "data.split=[1, 0, 0]", "train.num_epochs=30", "tokenizer.min_count=1"]
    )
    found, _, _ = label_errors(config)
    assert 0.35 < found.score.mean() < 0.65
    is_learnt = np.arange(40) < 30
    seen = predicted(config, is_learnt, 0)
    assert seen.shape == (10, 2)
    assert np.allclose(seen.sum(axis=1), 1, atol=1e-5)


def test_a_label_that_a_fold_lacks_is_not_judged(workplace: Path) -> None:
    rows = [*tiny_rows(60), {"title": "play", "text": "a tune on the violin", "label": "music"}]
    write_jsonl(workplace / "tiny.jsonl", rows)
    found, records, labels = label_errors(checked_config("tiny.yaml", [*BAG, "data.split=[1, 0, 0]"]))
    (row,) = [i for i, record in enumerate(records) if record.labels == ("music",)]
    assert np.isnan(found.score[row])
    assert row not in found.order
    assert len(found.order) == 60
    assert labels == ["chess", "cooking", "music", "sailing"]


def test_a_part_is_a_split_of_its_own(workplace: Path) -> None:
    with rehearsal(checked_config("tiny.yaml")) as agent:
        whole = agent.data.loaders["train"].examples
        part = Part(whole, np.array([5, 2, 9]))
        assert len(part) == 3
        assert part.lengths(0).tolist() == whole.lengths(0)[[5, 2, 9]].tolist()
        assert part.collate(np.array([1, 2]), 0).rows.tolist() == [2, 9]


@pytest.mark.full
def test_planted_errors_in_bbc_news_are_found(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 2% wrong labels at least half are among the surest 3% of the rows."""
    from conftest import ROOT

    from agents.running.building import build_corpus

    corpus = build_corpus(checked_config(ROOT / "configs/boe.yaml"))
    records = [record for split, own in corpus.scan().rows.items() for record in corpus.records(split, own)]
    labels = sorted({(record.labels or ("",))[0] for record in records})
    rows: list[dict[str, Any]] = [
        {"id": record.id, "text": " ".join(record.texts), "label": (record.labels or ("",))[0]} for record in records
    ]
    wrong = random.Random(1).sample(rows, len(rows) // 50)
    for row in wrong:
        row["label"] = random.Random(row["id"]).choice([label for label in labels if label != row["label"]])
    write_jsonl(workplace / "bbc.jsonl", rows)
    data = "data={name: files, train: bbc.jsonl, fields: [text], id: id, split: [1, 0, 0]}"
    assert (
        main(
            [
                "inspect",
                str(ROOT / "configs/boe.yaml"),
                data,
                "num_threads=1",
                "train.patience=null",
                "--labels",
                "--json",
            ]
        )
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    surest = {line["id"] for line in lines[: round(0.03 * len(rows))]}
    assert sum(row["id"] in surest for row in wrong) >= 0.5 * len(wrong)


def test_pairs_of_a_similarity_are_judged(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pairs of one text twice, or of two texts without a common word; some labels are wrong."""
    words = [f"word{i} other{i} third{i}" for i in range(6)]
    rows: list[dict[str, Any]] = []
    for i in range(120):
        is_same = i % 2 == 0
        second = words[i % 6] if is_same else words[(i + 1) % 6]
        label = "yes" if is_same != (i in (14, 33, 52, 71)) else "no"
        rows.append({"id": f"r{i}", "title": f"{words[i % 6]} n{i}", "text": f"{second} m{i}", "label": label})
    write_jsonl(workplace / "tiny.jsonl", rows)
    similarity = (workplace / "tiny.yaml").read_text().replace("classification", "similarity")
    (workplace / "s.yaml").write_text(similarity.replace("hidden_sizes: [8]\n  dropout: 0.1", "scale: 5"))
    assert main(["inspect", "s.yaml", BAG[0], BAG[3], "data.id=id", "data.split=[1, 0, 0]", "--labels", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 120
    assert {line["id"] for line in lines[:6]} >= {"r14", "r33", "r52", "r71"}
    assert lines[0]["suggested"] != lines[0]["label"]


@pytest.mark.parametrize(("agent", "words"), [("regression", []), ("classification", ["data.multi_label=true"])])
def test_other_tasks_are_refused(run_here: Run, workplace: Path, agent: str, words: list[str]) -> None:
    (workplace / "r.yaml").write_text((workplace / "tiny.yaml").read_text().replace("classification", agent))
    assert_refused(
        run_here("inspect", "r.yaml", *words, "--labels"), 2, "one label each: agent classification or similarity"
    )


@pytest.mark.parametrize("words", [["--labels", "--top", "0"], ["--top", "3"], ["--labels", "--json", "--top", "3"]])
def test_a_number_of_rows_that_cannot_be_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["inspect", "tiny.yaml", *words]) == 2
    assert "--top must be at least 1, and goes with --labels without --json" in capsys.readouterr().err.splitlines()[-1]


def test_too_few_rows_are_refused(run_here: Run, workplace: Path) -> None:
    write_jsonl(workplace / "tiny.jsonl", tiny_rows(4))
    assert_refused(
        run_here("inspect", "tiny.yaml", "data.split=[1, 0, 0]", "--labels"), 3, "at least 5 different", "got 4"
    )
