"""Vectors for TensorBoard's Projector: float32 files, a table of what each point is, and the plugin's list of both."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import printable
from utils.files.storage import beside

FOLDER, CONFIG = "projector", "projector_config.pbtxt"
MAX_POINTS, MAX_CELL = 10_000, 200  # points of a view; characters of a cell


class Projector:
    """The views of one run. Each is written whole, and the list after it."""

    def __init__(self, folder: Path) -> None:
        """folder: where the run's event files are."""
        self.folder, self.entries = folder, list[str]()

    def add(self, name: str, vectors: np.ndarray, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write vectors (N, D) as a view of that name; rows: the N points' values of the columns. Raises OSError."""
        (self.folder / FOLDER).mkdir(exist_ok=True)
        table = "".join("\t".join(map(cell, row)) + "\n" for row in (columns, *rows))
        self._write(f"{FOLDER}/{name}.bytes", np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self._write(f"{FOLDER}/{name}.tsv", table.encode())
        paths = {"tensor_path": f"{FOLDER}/{name}.bytes", "metadata_path": f"{FOLDER}/{name}.tsv"}
        words = [f"{key}: {json.dumps(value)}" for key, value in {"tensor_name": name, **paths}.items()]
        shape = [f"tensor_shape: {size}" for size in vectors.shape]
        self.entries.append(f"embeddings {{ {' '.join([*words, *shape])} }}\n")
        self._write(CONFIG, "".join(self.entries).encode())

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        with beside(path) as temporary:
            temporary.write_bytes(data)
            temporary.replace(path)


def cell(value: Any) -> str:
    """A value in a column: on one line, without tabs."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(" ".join(text.split()))[:MAX_CELL]


def spread(groups: np.ndarray, at_most: int = MAX_POINTS) -> np.ndarray:
    """Indices of at most so many of N rows, ascending; each group (N,) keeps its share of the rows, within one.

    Every n-th row of those sorted by group (systematic sampling): no random number is drawn.
    """
    order = np.argsort(groups, kind="stable")
    if len(order) <= at_most:
        return np.arange(len(order))
    return np.sort(order[np.linspace(0, len(order) - 1, at_most).round().astype(np.int64)])
