"""BERT's pre-training model: an encoder, the masked language model on its masked tokens, and a classifier of segment pairs.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1. B: sequences, T: tokens of the longest, N: real tokens, H: hidden
size, M: masked tokens, V: vocabulary size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from graphs.layers.feed_forward import Activation, activate
from graphs.layers.linear import Linear, linear
from graphs.layers.token_layout import PackedTokens, PaddedTokens
from graphs.models.transformer import TransformerEncoder, draw_weights


class TokenPredictor(nn.Module):
    """BERT's MLM head: dense layer, activation, layer norm, and an output projection tied to the token embeddings."""

    def __init__(self, hidden_size: int, vocab_size: int, norm_eps: float, activation: Activation) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.dense = Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """hidden (M, H), table (V, H) -> logits (M, V)."""
        return linear(self.norm(activate(self.dense(hidden), self.activation)), table, self.bias)


class MaskedLanguageModel(nn.Module):
    """An encoder and its heads. Only the masked tokens go through the product with the vocabulary, the most expensive one."""

    def __init__(
        self,
        encoder: TransformerEncoder,
        vocab_size: int,
        *,
        has_pairs: bool,
        norm_eps: float = 1e-12,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([encoder])  # the name under which every task keeps its encoders
        self.tokens = TokenPredictor(encoder.output_size, vocab_size, norm_eps, activation)
        self.pairs = nn.Linear(encoder.output_size, 2) if has_pairs else None
        self.tokens.apply(draw_weights)
        if self.pairs is not None:
            self.pairs.apply(draw_weights)

    def forward(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """A PretrainingBatch -> logits (M, V) of its masked tokens, and (B, 2) of its pairs, None where the model has no pairs."""
        encoder: Any = self.encoders[0]
        if encoder.packed:
            layout: Any = PackedTokens.of(batch.attention_mask, batch.token_index)
            hidden = encoder.encode(batch.input_ids, layout, batch.token_type_ids)  # (N, H)
            chosen = hidden.index_select(0, batch.packed_places)
        else:
            layout = PaddedTokens(batch.attention_mask)
            hidden = encoder.encode(batch.input_ids, layout, batch.token_type_ids)  # (B, T, H)
            chosen = hidden.flatten(0, 1).index_select(0, batch.places)
        tokens = self.tokens(chosen, encoder.embeddings.token.weight)
        if self.pairs is None:
            return tokens, None
        pooled = layout.first(hidden) if encoder.pooling in ("cls", "pooler") else hidden
        return tokens, self.pairs(encoder.pool(pooled, layout))
