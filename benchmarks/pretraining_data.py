"""The data path of pre-training without the model, on one core: python benchmarks/pretraining_data.py CONFIG [key=value ...]

Real tokens a second that are cut into sequences, masked and batched, by objective, and the seconds that laying out an epoch takes.
Target: 200,000 tokens/s.
"""

import sys
import time
from itertools import islice

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from agents import AGENTS, checked_config
from utils.machine.device import choose_device

KINDS = {
    "masked tokens": [],
    "whole words": ["objective.mask_unit=word"],
    "spans": ["objective.mask_unit=span"],
    "even masks": ["objective.even_masks=true"],
    "next sentence": ["objective.pairs=next_sentence"],
    "sentence order": ["objective.pairs=sentence_order"],
}


def main() -> None:
    """Measure, and print the table."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print("| objective | tokens/s | seconds to lay out an epoch |\n| --- | ---: | ---: |")
    for kind, words in KINDS.items():
        config = checked_config(sys.argv[1], [*sys.argv[2:], *words])
        loader = AGENTS[config.agent](config, choose_device("cpu")).read_data().loaders["train"]
        started = time.perf_counter()
        loader.examples.lengths(0)
        laid_out = time.perf_counter()
        num_tokens = sum(batch.num_tokens for batches in islice(loader.train_batches(0), 200) for batch in batches)
        print(
            f"| {kind} | {num_tokens / (time.perf_counter() - laid_out):,.0f} | {laid_out - started:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
