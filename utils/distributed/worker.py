"""The processes that train one run together: what is summed and what is waited for.

torchrun starts them and says in environment variables who is who; `python main.py` alone is the case of one, for which this does
nothing. Two ways lead from process to process: collectives of torch.distributed, which all of them call in the same order, and the
store of peers.py, which is there before those and after them. How one that fails ends them all: shutdown.py.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from utils.distributed.fsdp import shard
from utils.distributed.peers import Peers
from utils.distributed.sparse_gradients import mean_over_processes, sparse_tables
from utils.errors import DistributedError
from utils.machine.device import choose_device
from utils.machine.interruptible import interruptible

DEFAULT_TIMEOUT = 300.0  # seconds


@dataclass(frozen=True, kw_only=True)
class DistributedSettings:
    """How several processes, started by torchrun, share a run.

    strategy: each process has a share of every batch and (ddp) the whole model or (fsdp) a part of every weight, for large models
    timeout: seconds without an answer after which a process counts as dead
    """

    strategy: Literal["ddp", "fsdp"] = "ddp"
    timeout: float = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 1e6:
            raise ValueError(f"timeout must be positive and at most 1e6, got {self.timeout}")


class Worker:
    """A process among those of its run."""

    def __init__(self, peers: Peers | None = None) -> None:
        self.peers = peers
        self.rank, self.size = (peers.rank, peers.size) if peers is not None else (0, 1)
        self.local_rank, self.local_size = _place_on_machine() if peers is not None else (0, 1)
        self.cuda_backend, self.is_sharded = "nccl", False

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def is_copied(self) -> bool:
        """Whether each of several processes has a copy of the whole model (DDP), so that gradients are added up here."""
        return self.size > 1 and not self.is_sharded

    def limit(self, timeout: float) -> None:
        """Count another process as dead after so many seconds of silence; before that it is after DEFAULT_TIMEOUT."""
        if self.peers is not None:
            self.peers.timeout = timeout

    def refuse_different(self, what: str, facts: dict[str, Any]) -> None:
        """Raise DistributedError unless all have the same facts, plain values: else they would train different models."""
        if self.peers is not None:
            self.peers.refuse_different(what, facts)

    def refuse_other_file(self, path: Path) -> None:
        """Raise DistributedError unless all processes read the same bytes there; of a pipe each would get some of the lines."""
        if self.size == 1 or not path.exists() or path.is_dir():
            return
        if not path.is_file():
            raise DistributedError(
                f"{path}: is not a regular file, and {self.size} processes read it; give a file, or leave torchrun out"
            )
        with path.open("rb") as file:
            self.refuse_different("file", {str(path): hashlib.file_digest(file, "sha256").hexdigest()})

    def refuse_unshared(self, folder: Path) -> None:
        """Raise DistributedError unless every process sees what the first one writes in the folder."""
        if self.peers is not None:
            self.peers.refuse_unshared(folder)

    def refuse_small(self, batch_size: int, batch_tokens: int | None) -> None:
        """Raise DistributedError where a global batch has not one text for each process."""
        if batch_tokens is None and batch_size < self.size:
            raise DistributedError(
                f"train.batch_size must be at least {self.size}, the number of processes that share it, got {batch_size}"
            )

    def choose_device(self, name: str) -> torch.device:
        """The device by its name in the config; of several CUDA devices each process of a machine takes its own.

        Raises DistributedError for more processes than devices, ValueError for a device that is not there.
        """
        device = choose_device(name)
        if device.type != "cuda" or self.size == 1:
            return device
        count = torch.cuda.device_count()
        if device.index is None:
            if self.local_size > count:
                raise DistributedError(
                    f"{self.local_size} processes on a machine with {count} CUDA devices; "
                    f"torchrun --nproc_per_node={count}, or device=cuda:0 for all of them on one"
                )
            device = torch.device("cuda", self.local_rank)
        else:
            self.cuda_backend = "gloo"  # NCCL refuses two processes on one device
        torch.cuda.set_device(device)
        return device

    def first_alone(self, what: str) -> AbstractContextManager[None]:
        """The first process does the block, then the others do; `what` names it. Possible before `connect`."""
        return contextlib.nullcontext() if self.peers is None else self.peers.first_alone(what)

    def connect(self) -> None:
        """Make ready for collectives; only now, since what came before may have forked."""
        if self.peers is not None and not torch.distributed.is_initialized():
            backend = f"cpu:gloo,cuda:{self.cuda_backend}" if torch.cuda.is_available() else "gloo"
            store = torch.distributed.distributed_c10d.PrefixStore("collectives", self.peers.store)
            limit = timedelta(seconds=self.peers.timeout)
            interruptible(
                lambda: torch.distributed.init_process_group(
                    backend, store=store, rank=self.rank, world_size=self.size, timeout=limit
                )
            )

    def place(self, model: nn.Module, device: torch.device, strategy: str) -> nn.Module:
        """The model where it is trained; from now on all processes go the same way."""
        self.connect()
        self.is_sharded = self.size > 1 and strategy == "fsdp"
        return shard(model, device, self.size) if self.is_sharded else model.to(device)

    # What is done at every step.

    def network(self, loss: Callable[..., Any], model: nn.Module) -> Any:
        """`loss` of `model`, wrapped in DDP where that is on: the backward pass adds up the gradients of all processes.

        Parameters that a step does not use are looked for, as alone they may be unused, too. That also keeps the order in which
        gradients are added the same from the first step on, and so a resumed run has the same bits.
        """
        if not self.is_copied:
            return loss
        module, tables = _Loss(loss, model), {id(table): table.data for table in sparse_tables(model)}
        for table in tables.values():
            torch.distributed.broadcast(table, 0)  # as is done with all other weights; for their gradients see `sync`
        own = [name for name, parameter in module.named_parameters() if id(parameter) in tables]
        nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, own)
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)

    @contextlib.contextmanager
    def sync(self, network: Any, model: nn.Module, *, is_last: bool) -> Iterator[None]:
        """For a micro-batch: gradients are added up over the processes in the last one of a step alone."""
        if self.is_sharded:
            model.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        with contextlib.nullcontext() if is_last or not self.is_copied else network.no_sync():
            yield
        if is_last and self.is_copied:
            for table in sparse_tables(model):
                assert table.grad is not None, "every batch has used it"
                table.grad = mean_over_processes(table.grad, self.size)

    def share(self, loss: Tensor, batch: Any) -> Tensor:
        """A micro-batch's part of the loss, as its gradients are to be added up: torch takes their mean."""
        return loss if self.size == 1 else loss * (0 if batch.is_filler else self.size)

    def total(self, values: dict[Any, float]) -> dict[Any, float]:
        """Each number summed over the processes, by way of the host, so that nothing waits for the device."""
        if self.size == 1:
            return values
        sums = self.summed(torch.tensor(list(values.values()), dtype=torch.float64))
        return dict(zip(values, sums.tolist(), strict=True))

    def blamed(self, texts: list[int], loss: Tensor) -> str:
        """The texts in which a non-finite number may have begun, in words: those of processes whose own loss, (), is not finite."""
        if self.size == 1:
            return f", texts {texts}"
        found = self.gathered(None if torch.isfinite(loss) else texts)
        return "".join(f", texts {bad} of rank {rank}" for rank, bad in enumerate(found) if bad is not None)

    def summed(self, tensor: Tensor) -> Tensor:
        """A tensor summed over the processes, where it lies."""
        if self.size > 1:
            tensor = tensor.clone()
            torch.distributed.all_reduce(tensor)
        return tensor

    def largest(self, value: int) -> int:
        """The largest of what the processes have."""
        if self.size == 1:
            return value
        found = torch.tensor(value)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def gathered(self, value: Any) -> list[Any]:
        """What every process has, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def gathered_by_first(self, value: Any) -> list[Any]:
        """What every process has, by rank, in the first one; nothing in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_first else []
        torch.distributed.gather_object(value, values or None)
        return values

    def barrier(self) -> None:
        """Wait for the others."""
        self.total({"": 0.0})


def _place_on_machine() -> tuple[int, int]:
    """The rank of this process among those of its machine, and how many these are. Raises DistributedError."""
    rank, size = os.environ.get("LOCAL_RANK", "0"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if not (rank.isdecimal() and size.isdecimal() and int(size) > 0):
        raise DistributedError(f"LOCAL_RANK, LOCAL_WORLD_SIZE are not as torchrun sets them: {rank}, {size}")
    return int(rank), int(size)


class _Loss(nn.Module):
    """An agent's `compute_loss` as a module, which is what DistributedDataParallel takes."""

    def __init__(self, loss: Callable[..., Any], model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, batch: Any) -> Any:
        return self.loss(batch)
