"""Explanations as plain values: a line for each text, as in predictions.jsonl, with the score of each word."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agents.explaining.attribution import Explainer, Explanation
from agents.explaining.faithfulness import Faithfulness
from datasets.rows.predictions import beside, skipped_line
from datasets.rows.records import Record, Skipped

OWN_KEYS = {"explained", "words", "nearest"}  # beside those of a line of predictions.jsonl


def lines_of(
    explainer: Explainer,
    records: Iterable[Record | Skipped],
    check: Faithfulness | None = None,
    nearest: Sequence[Sequence[dict[str, Any]]] | None = None,
) -> Iterator[dict[str, Any]]:
    """A line for each record, in order; check: what collects the deletions; nearest: for each record that is not skipped."""
    similar = iter(nearest or ())
    for record in records:
        if isinstance(record, Skipped):
            yield skipped_line(record)
            continue
        found = explainer.explain(record)
        if check is not None:
            check.add(found)
        line = _line(explainer, found)
        yield line if nearest is None else line | {"nearest": list(next(similar))}


def _line(explainer: Explainer, found: Explanation) -> dict[str, Any]:
    """The prediction, what is explained, and each word with its place in its field and its score."""
    reading = found.reading
    (line,) = explainer.predictor.predict_records([reading.record])
    explained = {
        "label": found.label,
        "value": float(explainer.values(found.evidence)),
        "evidence": found.evidence,
        "method": found.method,
        "gap": found.gap,
        "fields": reading.fields,
    }
    words = [
        {
            "field": reading.fields[word.field],
            "word": reading.text(word),
            "start": word.start,
            "end": word.end,
            "score": score,
        }
        for word, score in zip(reading.words, found.scores.tolist(), strict=True)
    ]
    return beside(line, explainer.predictor.corpus.fields, OWN_KEYS) | {"explained": explained, "words": words}
