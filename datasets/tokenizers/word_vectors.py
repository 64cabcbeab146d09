"""Pre-trained word vectors: GloVe's and word2vec's text formats, plain or .gz."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.formats.data_files import byte_lines, check_file
from utils.errors import DataError

LONGEST = 1_000_000  # bytes of a line: no vector is longer


class WordVectors:
    """A file of pre-trained word vectors (a word and its numbers per line) that initialise the word embeddings.

    path: the file, in GloVe's or word2vec's text format, also .gz; its vectors have model.embedding_size dimensions
    freeze: do not train the word embeddings
    """

    def __init__(self, *, path: str, freeze: bool = False) -> None:
        self.path = Path(path)
        self.freeze = freeze

    def read(self, ids: Mapping[str, int], size: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows (N,), vectors (N, size) float32) of the words of `ids` that the file has; the first of a repeated word counts."""
        check_file(self.path, "vectors")
        rows, vectors, seen = [], [], set()
        for number, line in byte_lines(self.path, LONGEST, "no vector is"):
            cells = line.split()  # at ASCII white space: a word may contain other spaces, such as U+00A0
            if not cells or (number == 1 and len(cells) == 2 and all(map(bytes.isdigit, cells))):
                continue  # word2vec's header: number of words, size
            if len(cells) == size and line[:1].isspace():
                continue  # the vector of a space
            if len(cells) > size + 1 and not _is_number(cells[-size - 1]):
                cells = [b" ".join(cells[:-size]), *cells[-size:]]  # the largest GloVe has words with spaces
            word = cells[0].decode("utf-8", "replace")
            if word not in ids or word in seen:
                self._check_size(number, len(cells) - 1, size)
                continue
            seen.add(word)
            rows.append(ids[word])
            vectors.append(self._numbers(number, cells[1:], size))
        if not rows:
            raise DataError(f"{self.path}: has none of the {len(ids):,} words of the vocabulary")
        return np.array(rows), np.stack(vectors)

    def _numbers(self, number: int, cells: list[bytes], size: int) -> np.ndarray:
        self._check_size(number, len(cells), size)
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError:
            raise DataError(f"{self.path}:{number}: not a word and its {size} numbers") from None
        if not (np.abs(values) <= np.finfo(np.float32).max).all():
            raise DataError(f"{self.path}:{number}: holds a number that is not finite")
        return values.astype(np.float32)

    def _check_size(self, number: int, found: int, size: int) -> None:
        if found != size:
            raise DataError(f"{self.path}:{number}: has {found} numbers; model.embedding_size is {size}")


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
