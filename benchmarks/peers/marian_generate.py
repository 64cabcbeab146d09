"""transformers' generate with its cache: python marian_generate.py FOLDER BEAM BATCH MAX_LENGTH [MIN_LENGTH]

FOLDER holds weights.safetensors, sizes.json and sources.json (lists of ids, the longest first). The last line is JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from marian_model import marian

if len(sys.argv) < 5:
    sys.exit(__doc__)

torch.set_num_threads(2)
folder, beam, batch, longest = Path(sys.argv[1]), *map(int, sys.argv[2:5])
device = os.environ.get("BENCH_DEVICE", "cpu")
model = marian(folder).eval().to(device)
sources = json.loads((folder / "sources.json").read_text())
rule = {"num_beams": beam, "max_length": longest + 1, "do_sample": False, "length_penalty": 1.0}
rule |= {"min_length": int(sys.argv[5]) + 1} if len(sys.argv) > 5 else {}


def generate(rows: list[list[int]]) -> list[list[int]]:
    """The targets of a batch."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=device)
    found: list[list[int]] = model.generate(input_ids=ids, attention_mask=(ids != 0).long(), **rule).tolist()
    return found


end = model.config.eos_token_id
generate(sources[-batch:])
started, targets = time.perf_counter(), list[list[int]]()
for start in range(0, len(sources), batch):
    targets += [ids[1 : ids.index(end)] if end in ids else ids[1:] for ids in generate(sources[start : start + batch])]
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "targets": targets}))
