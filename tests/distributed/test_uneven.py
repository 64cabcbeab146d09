"""E4: whatever the numbers of texts, batch and processes: no process waits for one that has no more; every text once."""

import functools
import itertools
import json
import operator
from typing import Any

import numpy as np
import pytest
from conftest import tiny_rows, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from jobs import Job
from lab import Lab

from datasets.batches.examples import Batch
from datasets.batches.loader import Loader
from datasets.batches.order import shares
from datasets.store.store import SplitData
from datasets.tokenizers.tokens import Tokens

SIZES, BATCHES, RANKS = range(42), range(1, 6), range(1, 4)


def split_of(size: int) -> SplitData:
    """Texts of 1 to 9 tokens."""
    lengths = np.arange(size) * 7 % 9 + 1
    ids = np.arange(lengths.sum(), dtype=np.int32)
    return SplitData(
        [Tokens.from_lengths(ids, lengths, np.zeros(size, bool))], {"label": np.zeros(size, np.int64)}, np.arange(size)
    )


def rows_of(batches: list[Batch]) -> list[int]:
    """The rows that count."""
    return [row for batch in batches if not batch.is_filler for row in batch.rows.tolist()]


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2}, {"batch_tokens": 20}], ids=str)
@pytest.mark.parametrize("num_ranks", RANKS)
def test_all_processes_have_as_many_batches_and_together_every_row_once(
    num_ranks: int, options: dict[str, Any]
) -> None:
    for size, batch_size in itertools.product(SIZES, BATCHES):
        data = split_of(size)
        whole = Loader(data, batch_size=batch_size, **options)
        parts = [Loader(data, batch_size=batch_size, rank=r, num_ranks=num_ranks, **options) for r in range(num_ranks)]
        steps = zip(*(loader.train_batches(epoch=1) for loader in parts), strict=True)
        for expected, step in zip(whole.train_batches(epoch=1), steps, strict=True):
            assert len({len(batches) for batches in step}) == 1
            assert functools.reduce(operator.iadd, map(rows_of, step), []) == rows_of(expected)  # the same global batch
            assert all(len(batch.rows) for batches in step for batch in batches)
        evaluated = [list(loader.eval_batches()) for loader in parts]
        assert len({len(batches) for batches in evaluated}) == 1
        assert sorted(functools.reduce(operator.iadd, map(rows_of, evaluated), [])) == list(range(size))


@given(lengths=st.lists(st.integers(1, 500), max_size=60), size=st.integers(1, 8))
def test_the_shares_of_a_batch_hold_about_as_many_tokens(lengths: list[int], size: int) -> None:
    parts = shares(np.arange(len(lengths)), np.array(lengths, dtype=np.int64), size)
    assert np.concatenate(parts).tolist() == list(range(len(lengths)))
    assert sum(len(part) > 0 for part in parts) == min(size, len(lengths))
    tokens = [sum(lengths[row] for row in part.tolist()) for part in parts]
    longest = max(lengths, default=0)
    assert max(tokens) <= sum(lengths) / size + longest  # else a row of it would be nearer to its neighbour's share


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("uneven"))


@pytest.mark.parametrize(
    ("size", "batch_size", "num_ranks"), [(10, 2, 2), (17, 5, 3), (23, 3, 3), (31, 4, 2), (36, 7, 2), (41, 3, 3)]
)
def test_a_run_of_uneven_data_ends_and_counts_every_text_once(
    lab: Lab, size: int, batch_size: int, num_ranks: int
) -> None:
    write_jsonl(lab.folder / f"{size}.jsonl", tiny_rows(size))
    words = ["bilstm.yaml", f"data.train={size}.jsonl", f"train.batch_size={batch_size}", "data.cache_folder=.cache"]
    words += ["train.num_steps=20", "train.num_epochs=20", "train.log_every=5", "train.validate_every=1 epoch"]
    words += ["model.dropout=0", "head.dropout=0", "optimizer.lr=0.003"]
    for name, processes in ((f"one-{size}", 1), (f"many-{size}", num_ranks)):
        job = Job(lab, processes, *words, f"name={name}")
        assert job.wait() == [0] * processes, job.errors
    one, many = (json.loads((lab.path(f"{name}-{size}") / "report.json").read_bytes()) for name in ("one", "many"))
    for split in ("valid", "test"):
        assert many[split]["accuracy"] == one[split]["accuracy"]
        assert many[split]["confusion_matrix"] == one[split]["confusion_matrix"]
        assert many[split]["loss"] == pytest.approx(one[split]["loss"], rel=1e-5)
    lines = [(lab.path(f"{name}-{size}") / "predictions.jsonl").read_text().splitlines() for name in ("one", "many")]
    assert [json.loads(line)["id"] for line in lines[1]] == [json.loads(line)["id"] for line in lines[0]]
    epochs = [
        [line for line in lab.metrics(f"{name}-{size}") if line["split"] == "train_epoch"] for name in ("one", "many")
    ]
    for one_epoch, many_epoch in zip(*epochs, strict=True):
        assert many_epoch["step"] == one_epoch["step"]
        assert many_epoch["loss"] == pytest.approx(one_epoch["loss"], rel=1e-5)
        assert many_epoch["accuracy"] == pytest.approx(one_epoch["accuracy"])
