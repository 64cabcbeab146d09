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
    decision: np.ndarray,
    *,
    is_multi_label: bool,
    truncated: bool,
) -> dict[str, Any]:
    """id, the text fields, gold (where labels were asked for), predicted, the probability (L,) of each label, truncated.

    decision: the predicted label's number, or bools (L,) of several labels, as `utils.metrics.decide` takes it from the logits.
    """
    if is_multi_label:
        predicted: Any = [label for label, is_chosen in zip(labels, decision, strict=True) if is_chosen]
    else:
        predicted = labels[int(decision)]
    gold = {} if record.labels is None else {"gold": list(record.labels) if is_multi_label else record.labels[0]}
    return {
        "id": record.id,
        **texts_by_field(fields, record.texts),
        **gold,
        "predicted": predicted,
        "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
        "truncated": bool(truncated),
    }
