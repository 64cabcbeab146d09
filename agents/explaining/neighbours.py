"""The training texts that a model finds most similar to a text, by the vectors that its head reads. Q: texts, H: vector size."""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.running.other_rows import warn_of_other_data
from agents.running.predictor import CHUNK, Predictor
from datasets.rows.predictions import texts_by_field
from datasets.rows.records import Record
from datasets.tokenizers.processes import chunked


def nearest(predictor: Predictor, records: Sequence[Record], count: int) -> list[list[dict[str, Any]]]:
    """For each record its `count` nearest training texts, the nearest first, with their cosine similarity.

    The training rows are read once more, a chunk at a time. Raises DataError where they cannot be; warns where they have changed.
    """
    if not records:
        return []
    corpus = predictor.corpus
    warn_of_other_data(predictor, "its training texts may be others")
    queries = unit_vectors(predictor, records)
    found: list[list[tuple[float, int, Record]]] = [[] for _ in records]
    number = 0
    for chunk in chunked(corpus.records("train", corpus.scan().rows["train"]), CHUNK):
        similarities = queries @ unit_vectors(predictor, chunk).T  # (Q, chunk)
        for best, row in zip(found, similarities, strict=True):
            for place in np.argsort(-row, kind="stable")[:count].tolist():
                heapq.heappush(best, (float(row[place]), -(number + place), chunk[place]))
            while len(best) > count:
                heapq.heappop(best)
        number += len(chunk)
    return [[_line(predictor, *each) for each in sorted(best, reverse=True)] for best in found]


def _line(predictor: Predictor, similarity: float, _: int, record: Record) -> dict[str, Any]:
    corpus = predictor.corpus
    gold = corpus.target.gold(record.labels or ())
    texts = texts_by_field(corpus.fields, record.texts, {"similarity"})
    return {"similarity": similarity, "id": record.id, **texts, **gold}


def unit_vectors(predictor: Predictor, records: Sequence[Record]) -> np.ndarray:
    """(Q, H) the input of the model's head for each record, of length 1."""
    seen: list[Tensor] = []
    head: nn.Module = predictor.model.head  # type: ignore[assignment]
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        rows = [batch.rows for batch, _ in predictor.outputs(predictor.agent.encode(list(records)))]
    finally:
        hook.remove()
    vectors = torch.cat(seen).float().cpu().numpy()[np.argsort(np.concatenate(rows))]
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
