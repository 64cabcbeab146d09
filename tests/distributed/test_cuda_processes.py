"""On a CUDA device: NCCL with one process, and two processes that share the device over gloo. Skipped where there is none."""

from collections.abc import Iterator

import pytest
import torch
from jobs import Job
from lab import Lab
from torch import nn
from torch.distributed import HashStore

from utils.distributed.peers import Peers
from utils.distributed.worker import Worker, _Loss

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
OPTIONS = ["model.dropout=0", "head.dropout=0", "train.log_every=1", "optimizer.lr=0.003", "data.cache_folder=.cache"]


@pytest.fixture
def alone() -> Iterator[Worker]:
    """A process group of NCCL with one process."""
    worker = Worker(Peers(HashStore(), 0, 1, 5.0))
    worker.connect()
    yield worker
    torch.distributed.destroy_process_group()


def test_nccl_adds_up_gradients_on_the_device(alone: Worker) -> None:
    torch.manual_seed(1)
    model, inputs = nn.Linear(8, 3, device="cuda"), torch.randn(5, 8, device="cuda")
    network = nn.parallel.DistributedDataParallel(
        _Loss(lambda x: model(x).square().sum(), model), find_unused_parameters=True
    )
    network(inputs).backward()
    summed = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    model(inputs).square().sum().backward()
    for mine, plain in zip(summed, model.parameters(), strict=True):
        torch.testing.assert_close(mine, plain.grad)
    assert alone.gathered({"step": 1}) == [{"step": 1}]


def test_two_processes_share_a_device(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = Lab(tmp_path_factory.mktemp("cuda"))
    for name, size in (("one", 1), ("two", 2)):
        job = Job(lab, size, "bilstm.yaml", f"name={name}", "device=cuda:0", *OPTIONS)
        assert job.wait(180) == [0] * size, job.errors
    one, two = ([line["loss"] for line in lab.metrics(name) if line["split"] == "train"] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-5)


def test_more_processes_than_devices_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab, size = Lab(tmp_path_factory.mktemp("cuda")), torch.cuda.device_count() + 1
    job = Job(lab, size, "bilstm.yaml", "device=cuda")
    assert 7 in job.wait(180)
    assert len(job.causes) == 1
    assert "CUDA devices; torchrun --nproc_per_node=" in job.causes[0]
