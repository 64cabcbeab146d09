"""What is predicted for one text, as a line of predictions.jsonl."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.records import Record

OWN_KEYS = {"id", "gold", "predicted", "probabilities", "truncated", "problem", "attention", "fields"}


def texts_by_field(fields: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """The texts as a line holds them: by their fields' names, or all under `fields` where one has the name of another key."""
    named = dict(zip(fields, texts, strict=True))
    return {"fields": named} if named.keys() & OWN_KEYS else named


def prediction(
    record: Record,
    fields: Sequence[str],
    labels: Sequence[str],
    probabilities: np.ndarray,
    *,
    is_multi_label: bool,
    truncated: bool,
) -> dict[str, Any]:
    """id, the text fields, gold (where the record has labels), predicted, the probability (L,) of each label, truncated."""
    if is_multi_label:
        predicted: Any = [label for label, p in zip(labels, probabilities, strict=True) if p > 0.5]
        gold: Any = list(record.labels)
    else:
        predicted, gold = labels[int(probabilities.argmax())], record.labels[0] if record.labels else None
    return {
        "id": record.id,
        **texts_by_field(fields, record.texts),
        **({"gold": gold} if record.labels else {}),
        "predicted": predicted,
        "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
        "truncated": bool(truncated),
    }
