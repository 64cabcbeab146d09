"""JSON files with their own digest, which tells a damaged one from a whole one."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.files import strict_json
from utils.files.storage import read_regular


def digest_of(values: Mapping[str, Any]) -> str:
    """sha256 of plain values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their own digest, as `read_sealed` expects them in a JSON file."""
    return {**values, "digest": digest_of(values)}


def read_sealed(path: Path, limit: int | None = None) -> dict[str, Any]:
    """The values of a JSON file that `sealed` was written to. Raises ValueError for a damaged one, and as `read_regular` does."""
    try:
        values = dict(strict_json.parse(read_regular(path, limit)))
        if values.pop("digest", None) != digest_of(values):
            raise ValueError("its digest does not match")
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return values
