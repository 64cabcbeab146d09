"""The top level of a config, besides its sections."""

from dataclasses import dataclass
from typing import ClassVar, Literal

MAX_THREADS = 1024  # OpenMP ends the process where the machine has no room for so many


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The top level of a config, besides its sections.

    agent: the task
    name: the run's folder is experiments/NAME; default: the config file's name and what the command line changes
    seed: for the initial weights, the order of the texts and dropout
    device: auto, cpu, cuda, cuda:N or mps; auto uses a GPU if there is one
    num_threads: torch's CPU threads; auto: chosen at the first start by model and free cores, and kept by the run
    deterministic: make torch raise an error for operations that are not deterministic, as some on CUDA
    init_from: initial weights: a run's folder, or one of its checkpoints'; a published model's folder, pip:PACKAGE, or a hub name
    init_head: load a published classifier's last layer, too; its labels must match the data's
    metrics: computed for every split, such as [accuracy, macro_f1, ece]; null: the agent's default; train.monitor is added
    """

    free: ClassVar[tuple[str, ...]] = ("name", "device", "num_threads")  # as of a Section
    agent: str
    name: str = ""
    seed: int = 1
    device: str = "auto"
    num_threads: int | Literal["auto"] = "auto"
    deterministic: bool = False
    init_from: str | None = None
    init_head: bool = True
    metrics: list[str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be between 0 and 2**63 - 1, got {self.seed}")
        if self.num_threads != "auto" and not 1 <= self.num_threads <= MAX_THREADS:
            raise ValueError(f"num_threads must be between 1 and {MAX_THREADS}, got {self.num_threads}")
        if self.metrics == []:
            raise ValueError("metrics must name at least one, or be left out for the agent's own")
