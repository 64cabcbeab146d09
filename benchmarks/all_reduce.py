"""What one all-reduce costs by size, for docs/scaling.md: torchrun --nproc_per_node=2 benchmarks/all_reduce.py [gloo|nccl]

The median of 20, each begun by all processes together; float32, as gradients are.
"""

import os
import statistics
import sys
import time

import torch
import torch.distributed as dist

SIZES = [2**power for power in range(10, 28, 2)]  # bytes
REPEATS = 20


def seconds(tensor: torch.Tensor) -> float:
    """Of one all-reduce of it."""
    dist.barrier()
    started = time.perf_counter()
    dist.all_reduce(tensor)
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main(backend: str) -> None:
    """Measure, and print a table: from its first line the latency can be read, from its last the bandwidth."""
    dist.init_process_group(backend)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if backend == "nccl" else torch.device("cpu")
    rank, size = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        print(f"{backend}, {size} processes on {device.type}, torch {torch.__version__}")
        print("\n| bytes | ms | GB/s |\n| ---: | ---: | ---: |")
    for num_bytes in SIZES:
        tensor = torch.zeros(num_bytes // 4, device=device)
        seconds(tensor)
        median = statistics.median(seconds(tensor) for _ in range(REPEATS))
        if rank == 0:
            print(f"| {num_bytes:,} | {median * 1e3:.3f} | {num_bytes / median / 1e9:.2f} |")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" not in os.environ:
        sys.exit(__doc__)
    main(sys.argv[1] if len(sys.argv) > 1 else "gloo")
