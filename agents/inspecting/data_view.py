"""What a config's data is like, as the model will get it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.base import BaseAgent
from agents.running.text_data import TextData
from datasets.batches.examples import EVALUATION
from datasets.batches.loader import Loader
from datasets.batches.order import cut
from datasets.tokenizers.tokens import unknown_share

PERCENTILES = (5, 50, 95, 100)


def describe_data(agent: BaseAgent) -> dict[str, Any]:
    """{"splits": of each its rows, tokens and shares, "classes": of each its rows by split, "repeats", "leaks", "padding"}."""
    data: Any = agent.data
    leaks = data.report.get("leaks", {})
    return {
        "splits": {split: _split(data, split, loader) for split, loader in data.loaders.items()},
        "classes": _classes(agent),
        "repeats": leaks.get("repeats", {}),  # texts of a split that it holds before, by split
        "leaks": data.report.get("overlap", {}),  # texts of valid and test that training has, too
        "padding": padding(data.loaders["train"]),
    }


def _split(data: Any, split: str, loader: Loader) -> dict[str, Any]:
    lengths = loader.examples.lengths(EVALUATION)
    found: dict[str, Any] = {"rows": len(lengths), "tokens": int(lengths.sum())}
    found["lengths"] = {str(p): int(np.percentile(lengths, p)) for p in PERCENTILES} if len(lengths) else {}
    if split in data.report.get("truncated", {}):
        found["truncated"] = data.report["truncated"][split]
    if isinstance(data, TextData):
        fields, tokenizer = data.splits[split].fields, data.tokenizer
        found["unknown"] = unknown_share(fields, tokenizer.unknown_id, tokenizer.special.ids)
    return found


def _classes(agent: BaseAgent) -> dict[str, dict[str, int]]:
    """{label: {split: rows}}; empty for a task without labels."""
    data: Any = agent.data
    labels, found = list(getattr(agent.artifacts, "labels", ())), dict[str, dict[str, int]]()
    for split in data.loaders if labels else ():
        column = np.asarray(data.splits[split].columns["label"])
        counts = column.sum(axis=0) if column.ndim == 2 else np.bincount(column[column >= 0], minlength=len(labels))
        for label, count in zip(labels, counts.tolist(), strict=True):
            found.setdefault(label, {})[split] = int(count)
    return found


def padding(loader: Loader) -> dict[str, float]:
    """Fractions of an epoch's padded batches that are padding: in batches of similar length, as in training, and of any length."""
    lengths = loader.examples.lengths(0)
    shuffled = np.random.default_rng(0).permutation(len(lengths))
    at_random = cut(shuffled, lengths, loader.batch_size, loader.batch_tokens)
    return {"by_length": _padding(loader.batches(0), lengths), "at_random": _padding(at_random, lengths)}


def _padding(batches: Sequence[np.ndarray], lengths: np.ndarray) -> float:
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return 1 - sum(int(lengths[rows].sum()) for rows in batches) / max(1, padded)
