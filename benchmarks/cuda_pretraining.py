"""Pre-training on a CUDA device: python benchmarks/cuda_pretraining.py WORDS10M BLIMP [SECONDS]

A Transformer of 12 layers of 384 dimensions over the files of `prepare words10m` in the folder WORDS10M, ten epochs at most, in
bfloat16; then the share of the device that its steps use, and BLiMP of its best weights. Steps are cut so that the training
fits into SECONDS (400), as its first steps show. Beside it benchmarks/pretraining_trainer.py measures the HF Trainer.
"""

import json
import subprocess
import sys
from pathlib import Path

from side_by_side import ROOT, needs, project, start

TOKENS = 256 * 128  # a step


def main(words: str, blimp: str, seconds: float) -> None:
    """Measure, and print what was found."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device; nothing was measured")
    files = {split: f"{words}/{split}.txt" for split in ("train", "valid", "test")}
    data = {"name": "documents", "format": "sentences", "max_length": 128, "max_valid": 512, **files}
    model = {"name": "transformer", "positions": "rotary", "hidden_size": 384, "num_layers": 12, "num_heads": 6}
    model |= {"intermediate_size": 1536, "dropout": 0.0, "attention_dropout": 0.0}
    options: list[str] = [
        f"data={json.dumps(data)}",
        f"model={json.dumps(model)}",
        "device=cuda",
        "train.precision=mixed",
    ]
    options += ['optimizer={"name": "Muon", "lr": 0.004, "weight_decay": 0.01, "betas": [0.9, 0.98]}']
    options += ["train.batch_size=256", "scheduler.warmup_steps=100", "train.save_every=100000 steps"]
    config = "configs/pretrain_wikitext.yaml"
    trial = start(
        project(config, "cuda-trial", *options, "train.num_steps=150", "train.validate_every=1000 steps")
    ).result
    speed = trial["train"]["tokens_per_second"]
    num_steps = min(int(seconds * speed / TOKENS), int(10 * 14_000_000 / TOKENS))
    print(f"{torch.cuda.get_device_name()}: {speed:,.0f} tokens/s; {num_steps} steps")
    report = start(
        project(config, "cuda-words10m", *options, f"train.num_steps={num_steps}", "train.validate_every=500 steps")
    ).result
    print(json.dumps({"train": report["train"], "test": report["test"]}))
    steps = [sys.executable, "benchmarks/cuda_steps.py", config, *options]
    scores = [
        sys.executable,
        "main.py",
        "minimal-pairs",
        "experiments/cuda-words10m",
        "--data",
        blimp,
        "--device",
        "cuda",
    ]
    for command in (steps, scores):
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    needs(__doc__, arguments=2)
    if not Path(sys.argv[2]).exists():
        sys.exit(f"{__doc__}\nno file {sys.argv[2]}")
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 400.0)
