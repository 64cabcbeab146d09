"""Batches through a trained classifier in any form, as a process of its own: python our_forward.py FOLDER [torch]

The last line is JSON: seconds a batch by "BATCHxLENGTH", the fastest of ten, or of three large ones. torch: with its own
linear layers, whatever graphs/layers/linear.py takes on this CPU.
"""

import json
import sys
import time

import torch
from export_speed import BATCHES, LENGTHS
from side_by_side import ROOT, needs

sys.path.insert(0, str(ROOT))
from agents.running.predictor import Predictor
from graphs.layers import linear
from utils.machine.reproducibility import set_up_torch

REPEATS = {1: 10, 32: 3}  # by the size of the batch


@torch.no_grad()
def main(folder: str, kind: str = "") -> None:
    """Measure every size."""
    if kind == "torch":
        linear.mkl_is_slow = lambda: False  # type: ignore[assignment]
    set_up_torch(2, 0, is_deterministic=False)
    predictor = Predictor(folder)
    vocab_size, found = predictor.artifacts.tokenizer.vocab_size, {}
    for batch in BATCHES:
        for length in LENGTHS:
            ids = torch.randint(1000, vocab_size, (batch, length))
            fields = [{"input_ids": ids, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}]
            seconds = []
            for _ in range(REPEATS[batch] + 1):
                started = time.perf_counter()
                predictor.model(fields)
                seconds.append(time.perf_counter() - started)
            found[f"{batch}x{length}"] = min(seconds[1:])
    print(json.dumps(found))


if __name__ == "__main__":
    needs(__doc__, arguments=1)
    main(*sys.argv[1:3])
