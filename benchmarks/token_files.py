"""The tokens of a config's texts as files, so that a peer trains on exactly what this project trains on."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from agents import build
from datasets.batches.text_batch import TextBatch


def write_token_files(config: Path, overrides: Sequence[str], folder: Path) -> list[Path]:
    """train.jsonl and valid.jsonl, {"input_ids": [...], "labels": number} a text; ids as a model here gets them, in order."""
    agent = build(config, overrides, is_fresh=True)
    agent.experiment.close()
    paths = []
    for split in ("train", "valid"):
        rows: dict[int, str] = {}  # the batches come longest first, which would spare the peer its padding
        for batch in cast(Iterator[TextBatch], agent.data.loaders[split].eval_batches()):
            ids, masks = batch.fields[0]["input_ids"], batch.fields[0]["attention_mask"]
            for row, text, mask, label in zip(batch.rows.tolist(), ids, masks, batch.columns["label"], strict=True):
                rows[row] = json.dumps({"input_ids": text[mask].tolist(), "labels": int(label)})
        paths.append(folder / f"{split}.jsonl")
        paths[-1].write_text("".join(f"{rows[row]}\n" for row in sorted(rows)), encoding="utf-8")
    return paths
