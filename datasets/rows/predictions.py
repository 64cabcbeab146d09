"""The lines of predictions.jsonl."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from datasets.rows.corpus import Corpus
from datasets.rows.records import Record, Skipped

OWN_KEYS = {
    "id",
    "gold",
    "predicted",
    "abstained",
    "label_set",
    "probabilities",
    "truncated",
    "problem",
    "attention",
    "fields",
}


def texts_by_field(fields: Sequence[str], texts: Sequence[str], more_keys: Set[str] = frozenset()) -> dict[str, Any]:
    """The texts by field name, or nested under `fields` if a field's name clashes with another key.

    more_keys: keys that a line has besides those of predictions.jsonl
    """
    named = dict(zip(fields, texts, strict=True))
    return {"fields": named} if named.keys() & (OWN_KEYS | more_keys) else named


def beside(line: dict[str, Any], fields: Sequence[str], more_keys: Set[str]) -> dict[str, Any]:
    """A line to which `more_keys` are added: its texts are nested under `fields` if one of them is a field's name."""
    if "fields" in line or not more_keys & set(fields):
        return line
    others = {name: value for name, value in line.items() if name not in fields}
    return {"id": others.pop("id"), "fields": {name: line[name] for name in fields}} | others


def skipped_line(record: Skipped) -> dict[str, Any]:
    """The line of a row that could not be used."""
    return {"id": record.id, "predicted": None, "problem": record.problem}


def prediction_line(corpus: Corpus, record: Record, answer: Mapping[str, Any], *, truncated: bool) -> dict[str, Any]:
    """id, the text fields, gold (if the target was read), the answer (`predicted` and its details), truncated."""
    gold = {} if record.labels is None else corpus.target.gold(record.labels)
    texts = texts_by_field(corpus.fields, record.texts)
    return {"id": record.id, **texts, **gold, **answer, "truncated": bool(truncated)}
