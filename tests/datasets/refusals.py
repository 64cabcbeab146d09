"""Runs over bad data, as several tests here start them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_rows

from main import main

ROWS = tiny_rows(30)
SPLITS = ("train", "valid", "test")
JSON = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = ("title,text,label\n" + "".join(f"{r['title']},{r['text']},{r['label']}\n" for r in ROWS)).encode()


def refusal(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The last line on stderr of a start that is refused as bad data, within the promised time (of the process: others may be busy)."""
    started = time.process_time()
    assert main(["tiny.yaml", *overrides]) == 3
    assert time.process_time() - started <= 5
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def trained(capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, Any]:
    """What the report of a run of one epoch says of its data, in which every row that was read is used or skipped."""
    assert main(["tiny.yaml", "name=rows", "train.num_epochs=1", *overrides]) == 0
    assert "Traceback" not in capsys.readouterr().err
    data: dict[str, Any] = json.loads(Path("experiments/rows/report.json").read_bytes())["data"]
    for split in SPLITS:
        assert data[split]["read"] == data[split]["used"] + sum(data[split]["skipped"].values())
    return data
