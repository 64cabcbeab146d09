"""Two processes of one thread against one process of two: python benchmarks/two_processes.py [CONFIG] [STEPS]

The same global batches, started by torchrun and gloo. Seconds of the training, without start and validation.
"""

import sys

from side_by_side import alternate, header, project, row

REPEATS = 5
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def main(config: str, num_steps: int) -> None:
    """Measure, and print one line."""
    words = ["num_threads=2", f"train.num_steps={num_steps}", "train.validate_every=1000 steps"]
    commands = {
        "1 process, 2 threads": lambda i: project(config, "bench-one", *words),
        "2 processes, 1 thread": lambda i: TORCHRUN + project(config, "bench-two", *words)[1:],
    }
    one, two = ([run.result["train"]["seconds"] for run in runs] for runs in alternate(commands, REPEATS).values())
    header("1 process, 2 threads")
    row(f"2 processes of 1 thread, {num_steps} steps of {config}", two, one, "at most 1.15")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "configs/transformer.yaml", int(sys.argv[2]) if len(sys.argv) > 2 else 60
    )
