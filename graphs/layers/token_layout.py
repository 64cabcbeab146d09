"""Two layouts of a batch's tokens; a layer maps (..., H) to (..., H) and is written once for both.

B: texts, T: tokens of the longest, N: real tokens of all texts, H: hidden size.

PaddedTokens: (B, T, H), the batch as it is. No shape depends on values, as torch.export and ONNX require.
PackedTokens, the default: (N, H), the real tokens of all texts one after another, unpadded ("varlen" in FlashAttention): padding
costs nothing. It is neither nn.LSTM's packed sequences nor the packing of documents in pre-training.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from graphs.layers.head_layout import HeadLayout


class PaddedTokens(NamedTuple):
    """The padded layout of a mask (B, T), True at real tokens. A text without real tokens gets a meaningless vector."""

    mask: Tensor

    @property
    def positions(self) -> Tensor:
        """(B, T) the position of each token in its text."""
        return torch.arange(self.mask.shape[1], device=self.mask.device).expand(self.mask.shape)

    def strip(self, padded: Tensor) -> Tensor:
        return padded  # (B, T, ...), as it is

    def pad(self, tokens: Tensor) -> Tensor:
        return tokens  # (B, T, ...), as it is

    def first(self, hidden: Tensor) -> Tensor:
        """(B, T, H) -> (B, H), the first token of each text."""
        return hidden[:, 0]


class PackedTokens(NamedTuple):
    """The packed layout: where the real tokens of a padded batch are.

    mask (B, T): True at real tokens; token_index (N,): their positions in the flattened batch; offsets (B + 1,) int32: text i is
    tokens offsets[i] to offsets[i + 1] of N; heads: where each head's rows go in a padded product, None where nothing is padded.
    """

    mask: Tensor
    token_index: Tensor
    offsets: Tensor
    heads: HeadLayout | None = None

    @classmethod
    def of(cls, attention_mask: Tensor, token_index: Tensor | None = None) -> "PackedTokens":
        """The layout of a mask (B, T). token_index (N,): computed on the host with the batch; computing it here makes a GPU wait.

        Raises ValueError for a text without a real token, which has no hidden state to pool; not checked if token_index is given.
        """
        lengths = attention_mask.sum(dim=1)  # (B,)
        if token_index is None:
            if not lengths.all():
                raise ValueError(
                    f"text {int(lengths.argmin())} of the batch has no real token; its attention_mask is all False"
                )
            token_index = attention_mask.flatten().nonzero().squeeze(1)
        return cls(attention_mask, token_index, functional.pad(lengths.cumsum(dim=0), (1, 0)).int())

    @property
    def positions(self) -> Tensor:
        """(N,) the position of each token in its text."""
        return self.token_index % self.mask.shape[1]

    @property
    def has_padding(self) -> bool:
        """Known from the shapes alone, without reading from the device."""
        return len(self.token_index) != self.mask.numel()

    def strip(self, padded: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...), the real tokens."""
        flat = padded.flatten(0, 1)
        return flat.index_select(0, self.token_index) if self.has_padding else flat

    def pad(self, tokens: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), zero at padding."""
        flat = tokens
        if self.has_padding:
            flat = tokens.new_zeros(self.mask.numel(), *tokens.shape[1:]).index_copy(0, self.token_index, tokens)
        return flat.unflatten(0, self.mask.shape)

    def first(self, hidden: Tensor) -> Tensor:
        """(N, H) -> (B, H), the first token of each text."""
        return hidden.index_select(0, self.offsets[:-1])


TokenLayout = PaddedTokens | PackedTokens


def causal_mask(num_queries: int, num_keys: int, device: torch.device | None = None) -> Tensor:
    """(Q, K), True at a query's own position and those before it; the queries are the last of the keys' positions."""
    positions = torch.arange(num_keys, device=device)
    return positions <= positions[num_keys - num_queries :, None]
