"""A trace of some training steps by torch.profiler, as a file that TensorBoard's profiler and https://ui.perfetto.dev read."""

import errno
import os
from pathlib import Path

import torch

from utils.files.storage import beside

TRACE = "profile.pt.trace.json"  # the ending by which TensorBoard's plugin knows traces
FIRST = 5  # steps that go before: they allocate memory and choose kernels, as no later one does


class StepProfile:
    """Traces `num_steps` steps of a start, after its first FIRST."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps, self.num_done = num_steps, 0
        self.profiler: torch.profiler.profile | None = None

    def after_step(self, path: Path, *, is_last: bool) -> None:
        """Count a step; begin or end the trace where it is due. is_last: no other step comes. Raises OSError, RuntimeError."""
        self.num_done += 1
        if self.profiler is None and self.num_done == FIRST and not is_last:
            self.profiler = torch.profiler.profile(activities=torch.profiler.supported_activities())
            self.profiler.start()
        elif self.profiler is not None and (is_last or self.num_done == FIRST + self.num_steps):
            profiler = self.profiler
            self.close()
            write_trace(profiler, path)

    def close(self) -> None:
        """End a trace that is under way, without a file."""
        profiler, self.profiler = self.profiler, None
        if profiler is not None:
            profiler.stop()


def write_trace(profiler: torch.profiler.profile, path: Path) -> None:
    """Write the trace; on a full disk the profiler itself says nothing, and leaves a torn file. Raises OSError."""
    with beside(path) as temporary:
        profiler.export_chrome_trace(str(temporary))
        with temporary.open("rb") as file:
            file.seek(-min(16, file.seek(0, os.SEEK_END)), os.SEEK_END)
            if not file.read().rstrip().endswith(b"}"):
                raise OSError(errno.EIO, "the profiler could not write its trace")
        temporary.replace(path)
