"""Generation that computes the whole target again at each token: what the cache saves, and the proof that it changes nothing.

B: texts, K: rows of a text, t: tokens so far, V: vocabulary.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class WithoutCache:
    """An encoder-decoder with the same `begin` and `step`, by its `forward` alone, as it trains."""

    def __init__(self, model: Any) -> None:
        self.model, self.max_length = model, model.max_length

    def begin(self, input_ids: Tensor, attention_mask: Tensor, num_rows: int = 1) -> "Targets":
        """Sources (B, S) to generate for."""
        return Targets(input_ids, attention_mask)

    def step(self, ids: Tensor, targets: "Targets") -> Tensor:
        """(B, K) the newest token of each row -> logits (B, K, V) of the one after it."""
        targets.rows = ids[:, :, None] if targets.rows is None else torch.cat([targets.rows, ids[:, :, None]], dim=2)
        texts, num_rows, length = targets.rows.shape
        mask = torch.ones(texts * num_rows, length, dtype=torch.bool, device=ids.device)
        sources, source_mask = (each.repeat_interleave(num_rows, dim=0) for each in (targets.ids, targets.mask))
        batch = SimpleNamespace(
            input_ids=sources,
            attention_mask=source_mask,
            token_index=source_mask.flatten().nonzero()[:, 0],
            target_ids=targets.rows.flatten(0, 1),
            target_mask=mask,
            target_index=mask.flatten().nonzero()[:, 0],
        )
        logits: Tensor = self.model(batch)
        return logits.view(texts, num_rows, length, -1)[:, :, -1]


class Targets:
    """The sources and the targets so far."""

    def __init__(self, ids: Tensor, mask: Tensor) -> None:
        self.ids, self.mask = ids, mask
        self.rows: Tensor | None = None  # (B, K, t)

    def keep(self, texts: Tensor, parents: Tensor) -> None:
        """Go on with these texts (B',), whose row k continues their row parents[:, k] (B', K)."""
        assert self.rows is not None
        self.ids, self.mask, rows = (each.index_select(0, texts) for each in (self.ids, self.mask, self.rows))
        self.rows = rows.gather(1, parents[:, :, None].expand(-1, -1, rows.shape[2]))
