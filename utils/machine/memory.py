"""Check whether a model fits into this machine's memory, before it is allocated."""

import os
from pathlib import Path

from torch import nn

COPIES = 2  # of every weight, at least: itself and its gradient; most optimizers hold one or two more
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def machine_memory() -> int:
    """Bytes of memory available to this process; 2**62 if unknown."""
    found = [2**62]
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in LIMITS:
        try:
            found.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    return min(size for size in found if size > 0)


def too_large(model: nn.Module) -> str | None:
    """Why a model (on any device, also meta) and its gradients do not fit into memory; None if they fit."""
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    needed = COPIES * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    memory = machine_memory()
    if needed <= memory:
        return None
    return (
        f"{num_parameters:,} parameters and their gradients need {needed / 2**30:,.0f} GB, "
        f"this machine has {memory / 2**30:,.0f} GB of memory; lower the sizes"
    )
