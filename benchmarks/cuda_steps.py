"""What a CUDA device does while a config trains: python benchmarks/cuda_steps.py CONFIG [key=value ...]

Texts and tokens a second over steps of the loop, and, profiled, the share of the time in which the device ran nothing: that is when
it waited for the host. The products of a step (torch's count; the kernel of packed attention is not in it) against the rate of one
large bfloat16 product say how much of the device is used. The last line is JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from side_by_side import ROOT, needs

sys.path.insert(0, str(ROOT))
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from agents import build
from datasets.batches.ahead import made_ahead
from datasets.batches.examples import Batch

WARM_UP, TIMED, PROFILED = 20, 60, 20


def main(config: str, overrides: list[str]) -> None:
    """Measure, and print JSON."""
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device; nothing was measured")
    agent = build(config, [*overrides, "device=cuda", "name=bench-cuda"], is_fresh=True)
    try:
        agent.load_checkpoint()
        agent.network = agent.worker.network(agent.compute_loss, agent.model)
        batches = all_batches(agent)
        train(agent, islice(batches, WARM_UP))
        num_texts, num_tokens, seconds = train(agent, islice(batches, TIMED))
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            train(agent, islice(batches, PROFILED))
        kernels = [event.time_range for event in found.events() if event.device_type == DeviceType.CUDA]
        with FlopCounterMode(display=False) as counter:
            counted, _, _ = train(agent, islice(batches, 1))
    finally:
        agent.experiment.close()
    rate = counter.get_total_flops() / counted * num_texts / seconds
    result = {
        "device": torch.cuda.get_device_name(),
        "texts_per_second": num_texts / seconds,
        "tokens_per_second": num_tokens / seconds,
        "share_waiting": share_idle([(kernel.start, kernel.end) for kernel in kernels]),
        "share_of_bfloat16_rate": rate / product_rate(),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
    }
    print(json.dumps(result))


def all_batches(agent: Any) -> Iterator[list[Batch]]:
    """The batches of epoch after epoch."""
    for epoch in count():
        yield from made_ahead(agent.data.loaders["train"].train_batches(epoch), is_on=True)


def train(agent: Any, batches: Iterator[list[Batch]]) -> tuple[int, int, float]:
    """Train on some batches as the loop does -> (texts, tokens, seconds until the device is done)."""
    num_texts = num_tokens = 0
    torch.cuda.synchronize()
    started = time.perf_counter()
    for parts in batches:
        agent.count_step(agent.train_step(parts), 0.0)
        num_texts += sum(len(part.rows) for part in parts)
        num_tokens += sum(part.num_tokens for part in parts)
    torch.cuda.synchronize()
    return num_texts, num_tokens, time.perf_counter() - started


def share_idle(intervals: list[tuple[float, float]]) -> float:
    """The share of the time from the first beginning to the last end that lies in none of the intervals."""
    intervals = sorted(intervals)
    start, end, busy = intervals[0][0], intervals[0][0], 0.0
    for begin, finish in intervals:
        busy += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return 1 - busy / (end - start)


def product_rate(size: int = 8192, repeats: int = 20) -> float:
    """Floating-point operations a second of a product of two large bfloat16 matrices."""
    one = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    for number in range(repeats + 3):
        if number == 3:
            torch.cuda.synchronize()
            started = time.perf_counter()
        one @ one
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.perf_counter() - started)


if __name__ == "__main__":
    needs(__doc__, arguments=1)
    main(sys.argv[1], sys.argv[2:])
