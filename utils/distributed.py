"""The section `distributed`, read under torchrun. A run of several processes is not built yet, and says so."""

import os
from dataclasses import dataclass
from typing import Literal

from utils.errors import DistributedError


@dataclass(frozen=True, kw_only=True)
class DistributedSettings:
    """How several processes share a run, which is not built yet.

    strategy: ddp: each process has the whole model and a share of every batch
    timeout: after so many seconds of silence a process counts as dead
    """

    strategy: Literal["ddp"] = "ddp"
    timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")


def refuse_many_processes() -> None:
    """Raise DistributedError under torchrun with more than one process: each would train the same run."""
    world_size = os.environ.get("WORLD_SIZE", "1")
    if world_size != "1":
        raise DistributedError(
            f"started as one of {world_size} processes; this version trains with one: python main.py CONFIG"
        )
