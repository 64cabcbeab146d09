"""The sequences of a pre-training config as files, so that a peer trains and is measured on exactly what this project has."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from agents import build
from agents.exports.hugging_face import special_tokens


def write_sequence_files(config: Path, overrides: Sequence[str], folder: Path) -> list[Path]:
    """train.npy (N, T): whole sequences without masks; valid.npz: input_ids, places and ids of all validation sequences.

    The last sequence, which is shorter, is left out of train.npy.
    """
    agent: Any = build(config, overrides, is_fresh=True)
    agent.experiment.close()
    train, valid = (agent.data.loaders[split].examples for split in ("train", "valid"))
    rows = []
    for start in range(0, len(train.lengths(0)) - 1, 1000):
        batch = train.collate(np.arange(start, min(start + 1000, len(train.lengths(0)) - 1)), 0)
        ids = batch.input_ids.flatten()
        ids[batch.places] = batch.ids
        rows.append(ids.view(batch.input_ids.shape).numpy().astype(np.int32))
    paths = [folder / name for name in ("train.npy", "valid.npz", "tokenizer.json", "special.json")]
    np.save(paths[0], np.concatenate(rows))
    batch = valid.collate(np.arange(len(valid)), -1)
    np.savez(paths[1], input_ids=batch.input_ids, places=batch.places, ids=batch.ids, mask=batch.attention_mask)
    paths[2].write_text(agent.artifacts.tokenizer.published())
    paths[3].write_text(json.dumps(special_tokens(agent.artifacts.tokenizer)))
    return paths
