"""JSON from untrusted files."""

import json
from typing import Any


def parse(data: str | bytes) -> Any:
    """The value of a JSON document. Raises ValueError and nothing else, however deep the document is nested."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
