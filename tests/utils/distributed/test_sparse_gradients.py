"""Sparse gradients over processes: threads stand for them here, tests/distributed trains with real ones."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from utils.distributed import sparse_gradients
from utils.distributed.sparse_gradients import mean_over_processes, sparse_tables

SHAPE = (9, 2)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> threading.local:
    """Threads that say their rank in `.rank`; what they gather is refused unless all have tensors of one shape."""
    here, barrier, parts = threading.local(), threading.Barrier(3, timeout=10), {}

    def gathered(tensor: Tensor, size: int) -> list[Tensor]:
        parts[here.rank] = tensor
        barrier.wait()
        found = [parts[rank] for rank in range(size)]
        barrier.wait()
        assert len({part.shape for part in found}) == 1
        return found

    monkeypatch.setattr(sparse_gradients, "_gathered", gathered)
    return here


def sparse(rows: list[int]) -> Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows], dtype=torch.int64), torch.rand(len(rows), 2), SHAPE, check_invariants=True
    )


@pytest.mark.parametrize(
    "rows", [[[1, 4, 4], [4], [8, 0, 1, 2]], [[], [3], []], [[], [], []], [[5, 5], [5, 5, 5], [5]]], ids=str
)
def test_every_process_gets_the_mean_with_each_row_once(processes: threading.local, rows: list[list[int]]) -> None:
    gradients = [sparse(own) for own in rows]

    def mean(rank: int) -> Tensor:
        processes.rank = rank
        return mean_over_processes(gradients[rank], 3)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(mean, range(3)))
    expected = sum(gradient.to_dense() for gradient in gradients) / 3
    for result in found:
        assert result.is_coalesced()
        assert result._indices()[0].tolist() == sorted({row for own in rows for row in own})
        torch.testing.assert_close(result.to_dense(), expected)
        assert torch.equal(result._values(), found[0]._values())


def test_tables_that_do_not_learn_are_left_out() -> None:
    model = nn.Sequential(nn.Embedding(4, 2, sparse=True), nn.Embedding(4, 2, sparse=True), nn.Embedding(4, 2))
    model[1].requires_grad_(False)
    assert [id(table) for table in sparse_tables(model)] == [id(model[0].weight)]
