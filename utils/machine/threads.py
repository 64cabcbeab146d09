"""Number of CPU threads for torch: chosen once per run, with a warning if they wait for each other."""

import contextlib
import logging
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger("glassbox")
SMALL, LARGE = 2, 8  # the most threads that pay off: for bags and LSTMs, with many small products, and for Transformers
WINDOW = 0.05  # seconds in which the cores in use are counted
FIRST_STEPS, MIN_SECONDS = 20, 0.5  # what is watched
MIN_SWITCHES = 20.0  # preemptions a second; under 10 where cores are free
MIN_GAIN = 1.2


def choose_threads(model: Mapping[str, Any], num_processes: int = 1) -> int:
    """Number of threads of all ranks on this machine: as many as the model (its config section) can use and cores are free."""
    most = LARGE if "num_heads" in model else SMALL
    return max(1, min(most * num_processes, free_cores()))


def free_cores() -> int:
    """Number of idle cores that this process may use; all of them if Linux' counters are missing."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    own = os.sched_getaffinity(0)
    try:
        before, started = _idle_seconds(own), time.perf_counter()
        time.sleep(WINDOW)
        idle = (_idle_seconds(own) - before) / (time.perf_counter() - started)
    except (OSError, ValueError, IndexError):  # no /proc as on Linux
        idle = len(own)
    with contextlib.suppress(OSError, ValueError):  # no such file, or its limit is `max`
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # of a container (cgroup v2)
        idle = min(idle, int(limit) // int(period))
    return max(1, round(idle))


def _idle_seconds(cores: set[int]) -> float:
    """Total idle time of these cores since boot (proc(5), /proc/stat)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    ticks = sum(int(line[4]) + int(line[5]) for line in lines if line and line[0] in {f"cpu{core}" for core in cores})
    return ticks / os.sysconf("SC_CLK_TCK")


class ThreadWatch:
    """Watches the first steps of a start, and warns once if one thread would be faster than several.

    On shared cores, each parallel operation waits for the scheduler. The number is never changed: a run is bit-exact only for
    one number of threads.
    """

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on and torch.get_num_threads() > 1
        self.num_steps, self.started, self.switches = 0, 0.0, 0

    def after_step(self, model: nn.Module, compute: Callable[[], Any]) -> None:
        """Count a training step. compute: a pass of `model` over a batch, to compare with one thread if needed."""
        if not self.is_on:
            return
        if self.num_steps == 0:
            self.started, self.switches = time.perf_counter(), _preemptions()
        self.num_steps += 1
        seconds = time.perf_counter() - self.started
        if self.num_steps > FIRST_STEPS and seconds > MIN_SECONDS:
            self.is_on = False
            if _preemptions() - self.switches > MIN_SWITCHES * seconds:
                self._compare(model, compute)

    @torch.no_grad()
    def _compare(self, model: nn.Module, compute: Callable[[], Any]) -> None:
        """Time passes without gradients and dropout, so that no random number is drawn and the run does not change."""
        number, times = torch.get_num_threads(), dict[int, float]()
        model.eval()
        for threads in (number, 1, number, 1):
            torch.set_num_threads(threads)
            started = time.perf_counter()
            compute()
            times[threads] = times.get(threads, 0.0) + time.perf_counter() - started
        torch.set_num_threads(number)
        model.train()
        if (gain := times[number] / times[1]) > MIN_GAIN:
            logger.warning(
                "warning: num_threads: the %d threads wait for cores that other processes use; one thread was %.1f times as "
                "fast over the same batch. The run keeps its number; num_threads=1 changes it at the next start",
                *(number, gain),
            )


def _preemptions() -> int:
    """Number of involuntary context switches of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
