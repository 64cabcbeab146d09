"""Pre-training here and by the Hugging Face Trainer: python benchmarks/pretraining_trainer.py CONFIG [STEPS [key=value ...]]

CONFIG: configs/pretrain_wikitext.yaml, of which 32 sequences of 128 tokens a step are taken; the peer gets the same sequences, and
trains a BERT of the same sizes in float32 with AdamW. Real tokens a second over STEPS steps (60) and peak memory; three rounds in
turn.
"""

import sys
import tempfile
from pathlib import Path

from sequence_files import write_sequence_files
from side_by_side import ROOT, alternate, header, needs, peer, project, row

REPEATS = 3


def main(config: str, num_steps: int, options: list[str]) -> None:
    """Measure, and print the table."""
    steps = [f"train.num_steps={num_steps}", "scheduler.warmup_steps=10", "data.max_valid=8", "num_threads=2"]
    steps += ["train.validate_every=1000 steps", "train.save_every=1000 steps"]
    with tempfile.TemporaryDirectory() as name:
        train, _, tokenizer, special = write_sequence_files(ROOT / config, ["name=bench-mlm"], Path(name))
        runs = alternate(
            {
                "ours": lambda i: project(config, "bench-mlm", *steps, *options),
                "Trainer": lambda i: peer("mlm_trainer.py", train, tokenizer, special, num_steps),
            },
            REPEATS,
        )
    header("Trainer, DataCollatorForLanguageModeling", "transformers", "accelerate")
    ours = [run.result["train"]["tokens_per_second"] for run in runs["ours"]]
    row("training", ours, [run.result["tokens_per_second"] for run in runs["Trainer"]], "at least 1.5", "tokens/s")
    row(
        "peak memory",
        [run.peak_mb for run in runs["ours"]],
        [run.peak_mb for run in runs["Trainer"]],
        "at most 1",
        "MB",
    )


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["transformers", "accelerate"])
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60, sys.argv[3:])
