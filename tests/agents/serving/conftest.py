"""A run of each kind, and a server of them with small limits."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import served
import small_documents
import small_pairs
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents.serving.app import Door, build_app
from agents.serving.requests import Limits
from agents.serving.served_run import ServedRun, open_runs
from main import main

LIMITS = Limits(body_bytes=20_000, texts=4, characters=1000, read_seconds=1)
BERT = "tokenizer={name: wordpiece, vocab_size: 400, special_tokens: true}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """experiments/ with a run of each kind: labels, of two fields and of pairs; numbers; gaps; texts."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", tiny_rows())
        rows = [row | {"score": len(row["text"]) / 10} for row in tiny_rows()]
        (folder / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "tiny.yaml").write_text(TINY_CONFIG)
        (folder / "number.yaml").write_text(
            TINY_CONFIG.replace("agent: classification", "agent: regression").replace("tiny.jsonl", "numbers.jsonl")
            .replace("  fields:", "  label: score\n  fields:")
        )  # fmt: skip
        small_documents.write_corpus(folder)
        small_pairs.write_pairs(folder)
        assert main(["tiny.yaml", "name=labels"]) == 0
        assert main(["tiny.yaml", "name=pairs", "data.pair=true", "data.max_length=12", BERT]) == 0
        assert main(["number.yaml", "name=number"]) == 0
        assert main(["documents.yaml", "name=gaps"]) == 0
        assert main(["pairs.yaml", "name=writer", "train.num_epochs=1", "generation.min_length=8"]) == 0
    return folder / "experiments"


@pytest.fixture(scope="session")
def runs(folder: Path) -> dict[str, ServedRun]:
    return open_runs([str(path) for path in sorted(folder.glob("[a-z]*")) if path.is_dir()], "cpu")


@pytest.fixture(scope="session")
def port(runs: dict[str, ServedRun]) -> Iterator[int]:
    with served.in_thread(Door(build_app(runs, LIMITS))) as port:
        yield port
