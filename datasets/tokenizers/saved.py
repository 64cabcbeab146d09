"""A tokenizer that was trained before: `python main.py tokenizer` writes one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets.tokenizers.pretrained import read_pretrained_tokenizer
from datasets.tokenizers.special_tokens import SpecialTokens
from datasets.tokenizers.subword import SubwordTokenizer
from datasets.tokenizers.word import WordTokenizer
from utils.errors import DataError, unreadable
from utils.files import strict_json
from utils.files.storage import read_regular

# By the type in a run's tokenizer.json; one class reads both subword tokenizers.
SAVED_TOKENIZERS: dict[Any, Any] = {"subword": SubwordTokenizer, "word": WordTokenizer}


class SavedTokenizer:
    """A trained tokenizer from a folder: a run's, or one with Hugging Face's tokenizer.json or vocab.txt.

    path: the folder
    """

    special: SpecialTokens | None = None  # not known before it is read

    def __init__(self, *, path: str) -> None:
        if not path:
            raise ValueError("path must name a folder, got an empty one")
        self.path = Path(path)

    def read(self) -> Any:
        """The tokenizer. Raises DataError."""
        if not self.path.is_dir():
            raise DataError(
                f"{self.path}: no such folder; tokenizer.path names one that holds tokenizer.json or vocab.txt"
            )
        path = self.path / "tokenizer.json"
        if path.is_file():
            try:
                values = strict_json.parse(read_regular(path))
                if isinstance(values, dict) and (kind := SAVED_TOKENIZERS.get(values.get("type"))):
                    return kind.from_json(values)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(unreadable(path, error)) from None
        return read_pretrained_tokenizer(self.path)

    def train(self, chunks: Iterable[list[str]]) -> None:
        """Raise ValueError: nothing is learnt here."""
        raise ValueError("tokenizer.name: saved is not trained")
