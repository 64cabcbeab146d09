"""Translation on a CUDA device: python benchmarks/cuda_translation.py RUN FILE CONFIG [key=value ...]

Training CONFIG as benchmarks/cuda_steps.py measures it, in bfloat16; then greedy generation with the weights of RUN
(model.norm=post model.positions=learned) here and by transformers, sentences a second over FILE, one a line.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, alternate, header, needs, peer, row
from translation_files import read_lines, write_translation_files


def main(run: str, file: str, config: str, overrides: list[str]) -> None:
    """Measure, and print JSON and a table."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device; nothing was measured")
    words = [sys.executable, "benchmarks/cuda_steps.py", config, "train.precision=mixed", *overrides]
    subprocess.run(words, cwd=ROOT, check=True)
    os.environ["BENCH_DEVICE"] = "cuda"
    lines = read_lines(Path(file))
    with tempfile.TemporaryDirectory() as name:
        write_translation_files(ROOT / run, lines, Path(name))
        header("transformers", "transformers")
        rule = ("1", "256", "100")
        ours = [sys.executable, "benchmarks/our_generation.py", name, run, *rule]
        theirs = peer("marian_generate.py", name, *rule)
        runs = alternate({"ours": lambda i: ours, "transformers": lambda i: theirs}, 3)
        speed = {system: [len(lines) / one.result["seconds"] for one in each] for system, each in runs.items()}
        row("greedy, batches of 256", speed["ours"], speed["transformers"], "measured", "sentences/s")


if __name__ == "__main__":
    needs(__doc__, arguments=3, packages=["transformers"])
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
