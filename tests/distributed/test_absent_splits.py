"""Two processes of a run without validation: the last weights count, and every test row is predicted once."""

import json
from pathlib import Path

from jobs import Job
from lab import Lab


def test_two_processes_need_no_validation(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    job = Job(
        lab, 2, "bilstm.yaml", "data.split=[0.75, 0, 0.25]", "train.patience=null", "name=x", "train.num_epochs=1"
    )
    assert job.wait() == [0, 0], job.errors
    report = json.loads((tmp_path / "experiments/x/report.json").read_text())
    assert report["best"] is None
    assert "valid" not in report
    lines = (tmp_path / "experiments/x/predictions.jsonl").read_text().splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) == len(set(ids)) == report["data"]["test"]["used"] > 0
    gold = [json.loads(line) for line in lines]
    assert report["test"]["accuracy"] == sum(line["gold"] == line["predicted"] for line in gold) / len(gold)
