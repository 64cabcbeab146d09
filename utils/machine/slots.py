"""Sharing this machine out between runs at the same time: a CUDA device each, or CPU threads."""

import os
from typing import NamedTuple

from utils.errors import ConfigError


class Slots(NamedTuple):
    """What each of the runs at a time gets. environments: of its process; num_threads: torch's CPU threads; None: as it chooses."""

    environments: list[dict[str, str]]
    num_threads: int | None


def slots_of(device: str, at_once: int) -> Slots:
    """device: as in a config. Raises ConfigError for more runs at a time than there are devices, or cores."""
    import torch

    if at_once < 1:
        raise ConfigError(f"command line: --jobs must be at least 1, got {at_once}")
    if at_once == 1:
        return Slots([{}], None)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device in ("auto", "cuda") and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
        _refuse_more(at_once, len(names), "CUDA device")
        return Slots([{"CUDA_VISIBLE_DEVICES": name} for name in names[:at_once]], max(1, cores // at_once))
    if device not in ("auto", "cpu"):
        raise ConfigError(f"command line: --jobs {at_once} would put all runs on the one device {device}")
    _refuse_more(at_once, cores, "CPU core")
    return Slots([{} for _ in range(at_once)], max(1, cores // at_once))


def _refuse_more(at_once: int, num: int, what: str) -> None:
    if at_once > num:
        raise ConfigError(f"command line: --jobs must be at most {num}, one run for each {what}, got {at_once}")
