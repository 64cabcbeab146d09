"""Generation here, as a process of its own: python our_generation.py FOLDER RUN BEAM BATCH MAX_LENGTH [MIN_LENGTH [no-cache]]

FOLDER: see peers/marian_generate.py. The last line is JSON.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from agents.translating.generator import Generator
from datasets.tokenizers.tokens import Tokens
from graphs.generation.without_cache import WithoutCache
from utils.machine.reproducibility import set_up_torch


def main() -> None:
    """Generate, and say how long it took."""
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    set_up_torch(2, 0, is_deterministic=False)
    options: dict[str, Any] = dict(
        zip(("beam_size", "max_length", "min_length"), map(int, [sys.argv[3], *sys.argv[5:7]]), strict=False)
    )
    device = os.environ.get("BENCH_DEVICE", "cpu")
    generator, batch = Generator(sys.argv[2], device, length_penalty=1.0, **options), int(sys.argv[4])
    translator = generator.translator
    if "no-cache" in sys.argv:
        translator.model = WithoutCache(translator.model)
    sources = json.loads((Path(sys.argv[1]) / "sources.json").read_text())

    def generate(rows: list[list[int]]) -> list[list[int]]:
        lengths = np.array(list(map(len, rows)))
        tokens = Tokens.from_lengths(np.concatenate(rows).astype(np.int32), lengths, np.zeros(len(rows), dtype=bool))
        ids, mask = map(torch.from_numpy, tokens.pad(np.arange(len(rows))))
        return [found[0].ids for found in translator.hypotheses(ids.to(device), mask.to(device))]

    generate(sources[-batch:])
    started, targets = time.perf_counter(), list[list[int]]()
    for start in range(0, len(sources), batch):
        targets += generate(sources[start : start + batch])
    print(json.dumps({"seconds": time.perf_counter() - started, "targets": targets}))


if __name__ == "__main__":
    main()
