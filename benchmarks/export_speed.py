"""A trained Transformer in 8 bits beside the run itself, in fp32, and its graph: python benchmarks/export_speed.py RUN [ROUNDS]

RUN holds the exports int8 and onnx (python main.py export RUN --format int8). Seconds a batch of random tokens, all of one length,
on two threads: in each process the fastest of ten, of batches of 32 of three; the systems take turns, among them the run with
torch's own linear layers.
"""

import itertools
import sys

from side_by_side import alternate, header, needs, row

LENGTHS, BATCHES = (32, 64, 128, 256), (1, 32)
MUST_REACH = {32: "at least 1.8", 64: "at least 1.8", 128: "at least 1.5", 256: ""}


def main(run: str, repeats: int) -> None:
    """Measure, and print the tables."""
    given = {"run": [run], "torch": [run, "torch"], "onnx": [f"{run}/onnx"], "int8": [f"{run}/int8"]}
    commands = {name: [sys.executable, "benchmarks/our_forward.py", *words] for name, words in given.items()}
    runs = alternate({name: lambda i, command=command: command for name, command in commands.items()}, repeats)  # type: ignore[misc]
    for own, other in itertools.product(("run", "torch"), ("onnx", "int8")):
        header(f"{own}, exported as {other}; the ratio is how many times its speed", "onnxruntime")
        for batch in BATCHES:
            for length in LENGTHS:
                seconds = {name: [each.result[f"{batch}x{length}"] for each in found] for name, found in runs.items()}
                must_reach = MUST_REACH[length] if (own, other) == ("torch", "int8") else ""
                row(f"{batch} x {length}", seconds[own], seconds[other], must_reach)


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["onnxruntime"])
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
