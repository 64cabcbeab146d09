"""JSON from untrusted files."""

import json
from typing import Any


def parse(data: str | bytes, *, allow_nan: bool = True) -> Any:
    """The value of a JSON document. Raises ValueError and nothing else, however deep the document is nested.

    allow_nan: take NaN and Infinity, which are no JSON, but which Python writes.
    """
    refused: dict[str, Any] = {} if allow_nan else {"parse_constant": _refuse_constant}
    try:
        return json.loads(data, object_pairs_hook=once_each, **refused)
    except RecursionError:
        raise ValueError("nested too deep") from None


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a repeated key, of which the library would silently keep the last."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
