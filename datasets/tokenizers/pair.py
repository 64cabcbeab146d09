"""Two tokenizers, one for the source and one for the target of text pairs."""

from typing import Any

from datasets.tokenizers.subword import SubwordTokenizer


class TokenizerPair:
    """A tokenizer for each of two fields; what is asked of one tokenizer alone is the source's."""

    def __init__(self, source: Any, target: Any) -> None:
        self.source, self.target = source, target

    @property
    def special(self) -> Any:
        return self.source.special

    @property
    def unknown_id(self) -> int:
        return int(self.source.unknown_id)

    @property
    def vocab_size(self) -> int:
        return int(self.source.vocab_size)

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs."""
        return {"type": "pair", "source": self.source.to_json(), "target": self.target.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TokenizerPair":
        """The tokenizers that `to_json` described. Raises ValueError for any other file."""
        return cls(SubwordTokenizer.from_json(values["source"]), SubwordTokenizer.from_json(values["target"]))


def sides_of(tokenizer: Any) -> tuple[Any, Any]:
    """The tokenizers of the source and of the target, which may be the same."""
    return (tokenizer.source, tokenizer.target) if isinstance(tokenizer, TokenizerPair) else (tokenizer, tokenizer)
