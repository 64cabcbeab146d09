"""The keys and values of tokens generated so far and of their sources, so that each is computed once (a KV cache).

B: texts, K: rows of a text that are generated together (beams), A: attention heads, D: head size, S: tokens of the longest source,
t: tokens of a text so far, over all of its rows.

The rows of a text share one past, and a mask says which tokens are whose. So a beam that goes on from another one copies no keys.
"""

from typing import NamedTuple

import torch
from torch import Tensor

FIRST_ROOM = 16  # steps


class PastTokens:
    """The past of one layer. Its room doubles where it is full, so that adding tokens copies nothing else."""

    def __init__(self) -> None:
        self.length = 0  # t
        self.buffer: Tensor | None = None  # (2, B, A, room, D)

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """(B, A, K, D) of the newest tokens -> the keys and values of all, each (B, A, t, D)."""
        start, self.length = self.length, self.length + key.shape[2]
        if self.buffer is None or self.length > self.buffer.shape[3]:
            self._grow(key, start)
        assert self.buffer is not None
        new = self.buffer[:, :, :, start : self.length]
        new[0], new[1] = key, value
        keys, values = self.buffer[:, :, :, : self.length]
        return keys, values

    def keep(self, texts: Tensor) -> None:
        """Go on with these texts (B',) alone."""
        if self.buffer is not None:
            self.buffer = self.buffer.index_select(1, texts)

    def _grow(self, key: Tensor, start: int) -> None:
        texts, heads, rows, size = key.shape
        larger = key.new_empty(2, texts, heads, max(2 * start, rows * FIRST_ROOM), size)
        if self.buffer is not None:
            larger[:, :, :, :start] = self.buffer[:, :, :, :start]
        self.buffer = larger


class Ancestry:
    """Which tokens of a text's past belong to which of its rows."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows  # K
        self.mask: Tensor | None = None  # (B, K, t); None while there is one row, whose tokens are all its own

    def add(self, num_texts: int, device: torch.device) -> Tensor | None:
        """The mask with the newest tokens, each of which only its own row knows."""
        if self.num_rows > 1:
            new = torch.eye(self.num_rows, dtype=torch.bool, device=device).expand(num_texts, -1, -1)
            self.mask = new if self.mask is None else torch.cat([self.mask, new], dim=2)
        return self.mask

    def keep(self, texts: Tensor, parents: Tensor) -> None:
        """Go on with these texts (B',), whose row k continues their row parents[:, k] (B', K)."""
        if self.mask is not None:
            mask = self.mask.index_select(0, texts)
            self.mask = mask.gather(1, parents[:, :, None].expand(-1, -1, mask.shape[2]))


class SourceHeads(NamedTuple):
    """What one layer knows of the sources: keys_values (2, B, A, S, D); mask (B, S), True at real tokens."""

    keys_values: Tensor
    mask: Tensor


class Generation:
    """What is computed of a batch of sources and of the targets generated so far."""

    def __init__(self, sources: list[SourceHeads], num_rows: int) -> None:
        """sources: of each layer."""
        self.sources, self.pasts = sources, [PastTokens() for _ in sources]
        self.ancestry, self.length = Ancestry(num_rows), 0  # tokens of a row that the decoder has read

    def keep(self, texts: Tensor, parents: Tensor) -> None:
        """Go on with these texts (B',), in order, whose row k continues their row parents[:, k] (B', K)."""
        self.ancestry.keep(texts, parents)
        if len(texts) < len(self.sources[0].mask):
            mask = self.sources[0].mask.index_select(0, texts)
            self.sources = [SourceHeads(each.keys_values.index_select(1, texts), mask) for each in self.sources]
            for past in self.pasts:
                past.keep(texts)
