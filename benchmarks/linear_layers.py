"""`graphs.layers.linear` beside `nn.Linear`, float32 on this CPU: python benchmarks/linear_layers.py [THREADS]

Ratios of the medians of 15 calls in turn; above 1: faster than nn.Linear. On a CPU on which it is not used both are the same.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from side_by_side import ROOT

sys.path.insert(0, str(ROOT))

from graphs.layers.linear import Linear, mkl_is_slow

SIZES = [(256, 256), (256, 1024), (384, 1536), (1536, 384), (256, 8192), (768, 3072)]
ROWS = [300, 1000, 4000]
ROUNDS = 15


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print the table."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print(f"used here: {mkl_is_slow()}; {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(
        "| input, output | rows | forward | forward and backward | GFLOP/s, forward: nn.Linear, ours |\n| --- "
        + "| ---: " * 4
        + "|"
    )
    for size, output_size in SIZES:
        layers = [torch.nn.Linear(size, output_size), Linear(size, output_size)]
        for rows in ROWS:
            x, gradient = torch.randn(rows, size, requires_grad=True), torch.randn(rows, output_size)
            forward: tuple[list[float], list[float]] = ([], [])
            both: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS + 1):
                for layer, first, second in zip(layers, forward, both, strict=True):
                    with torch.no_grad():
                        first.append(seconds(lambda: layer(x)))  # noqa: B023
                    second.append(seconds(lambda: layer(x).backward(gradient)))  # noqa: B023
                    x.grad = None
                    layer.zero_grad()
                if number == 0:  # kernels are made
                    for times in (*forward, *both):
                        times.clear()
            theirs, ours = map(statistics.median, forward)
            whole = statistics.median(both[0]) / statistics.median(both[1])
            speeds = ", ".join(f"{2e-9 * rows * size * output_size / value:.0f}" for value in (theirs, ours))
            print(f"| {size}, {output_size} | {rows:,} | {theirs / ours:.2f} | {whole:.2f} | {speeds} |", flush=True)


if __name__ == "__main__":
    main()
