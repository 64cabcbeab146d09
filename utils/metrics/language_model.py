"""What a masked language model guesses: accuracy, perplexity and bits per byte of the masked tokens; pairs told apart."""

from typing import Any

import torch
from torch import Tensor


class PretrainingCounts:
    """Right guesses of masked tokens and of pairs, and the bytes that the masked tokens stand for.

    The bytes are those of the tokens' text in UTF-8: a loss in bits per byte compares models of different vocabularies.
    """

    def __init__(self, bytes_of: Tensor, device: torch.device, *, has_pairs: bool) -> None:
        """bytes_of (V,) int64: the bytes of each token."""
        self.bytes_of, self.has_pairs = bytes_of, has_pairs
        self.counts = torch.zeros(5, dtype=torch.int64, device=device)  # tokens: right, all, bytes; pairs: right, all

    def update(self, outputs: tuple[Tensor, Tensor | None], batch: Any) -> None:
        """outputs: logits (M, V) and (B, 2); batch: a PretrainingBatch."""
        tokens, pairs = outputs
        right, found = tokens.argmax(dim=-1) == batch.ids, [torch.zeros_like(self.counts[0])] * 2
        if pairs is not None:
            is_right = pairs.argmax(dim=-1) == batch.pair_labels
            found = [is_right.sum(), torch.ones_like(is_right).sum()]
        num_bytes = self.bytes_of.index_select(0, batch.ids).sum()
        self.counts += torch.stack([right.sum(), torch.ones_like(right).sum(), num_bytes, *found])

    def compute(self) -> dict[str, float]:
        right, size, num_bytes, pairs_right, num_pairs = self.counts.tolist()
        values = {"mlm_accuracy": right / max(1, size), "bytes_per_token": num_bytes / max(1, size)}
        return values | ({"pair_accuracy": pairs_right / max(1, num_pairs)} if self.has_pairs else {})

    def report(self) -> dict[str, Any]:
        return {"masked_tokens": int(self.counts[1])}
