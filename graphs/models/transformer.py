"""The Transformer encoder (Vaswani et al. 2017, Devlin et al. 2019), with later improvements as options.

B: texts, T: tokens of the longest, N: real tokens of all texts, H: hidden size; ...: (N,) packed tokens or (B, T) padded ones.

The file follows the flow of the data: embeddings, layers, pooling. Padding is removed once, at the input, and the layers work on
the packed tokens (N, H). The same code also runs on the padded batch (B, T, H): see token_layout.py.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from graphs.layers.attention import SelfAttention, attention_weights
from graphs.layers.dropout import Dropout
from graphs.layers.embedding import Table
from graphs.layers.feed_forward import Activation, FeedForwardLayer
from graphs.layers.linear import Linear
from graphs.layers.option_checks import check_layers, check_probabilities, check_sizes
from graphs.layers.packed_attention import lay_out
from graphs.layers.pooling import AttentionPooling, masked_max, masked_mean
from graphs.layers.positions import rotary_angles, sinusoids
from graphs.layers.token_layout import PackedTokens, PaddedTokens, TokenLayout
from graphs.models.compiling import compile_each
from graphs.models.layer_options import LayerOptions, Norm

Positions = Literal["learned", "sinusoidal", "rotary"]
Pooling = Literal["cls", "pooler", "mean", "max", "attention"]


class TokenEmbeddings(nn.Module):
    """The sum of token, position and segment embeddings, normalised where the layers expect it (post-norm).

    vocab_size: None where the tokens' table is given at each call, as that of another part of the model
    """

    def __init__(
        self,
        vocab_size: int | None,
        hidden_size: int,
        max_positions: int,
        type_vocab_size: int,
        *,
        positions: Positions,
        norm: nn.LayerNorm | None,
    ) -> None:
        super().__init__()
        if type_vocab_size < 0:
            raise ValueError(f"type_vocab_size must not be negative, got {type_vocab_size}")
        self.is_sinusoidal = positions == "sinusoidal"
        self.token = None if vocab_size is None else Table(vocab_size, hidden_size)
        self.position = Table(max_positions, hidden_size) if positions == "learned" else None
        self.segment = Table(type_vocab_size, hidden_size) if type_vocab_size else None
        self.norm = norm

    def forward(
        self, input_ids: Tensor, positions: Tensor, token_type_ids: Tensor | None = None, table: Tensor | None = None
    ) -> Tensor:
        """(...) ids, positions and segments -> (..., H); table (V, H): of the tokens, instead of the own one."""
        found = self.token.weight if self.token is not None and table is None else table
        assert found is not None
        hidden = functional.embedding(input_ids, found)
        if self.is_sinusoidal:  # brings the embeddings nearer to the scale of the sinusoids (section 3.4)
            hidden = hidden * hidden.shape[-1] ** 0.5 + sinusoids(positions, hidden.shape[-1])
        if self.position is not None:
            hidden = hidden + self.position(positions)
        if self.segment is not None:
            has_types = token_type_ids is not None and self.segment.num_embeddings > 1
            hidden = hidden + (self.segment(token_type_ids) if has_types else self.segment.weight[0])
        return hidden if self.norm is None else self.norm(hidden)


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual connection; layer norm after the sum (post) or before it (pre).

    Post-norm is the original (Vaswani et al. 2017, section 3.1); pre-norm trains without a long warm-up (Xiong et al. 2020).
    """

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        size, dropout = options.hidden_size, options.attention_dropout
        self.is_pre_norm = options.is_pre_norm
        self.attention = SelfAttention(size, options.num_heads, dropout=dropout, per_head=options.dropout_per_head)
        self.attention_norm = options.build_norm()
        self.feed_forward = FeedForwardLayer(size, options.intermediate_size, options.activation)
        self.feed_forward_norm = options.build_norm()
        self.dropout = Dropout(options.dropout)

    def forward(
        self, hidden: Tensor, tokens: TokenLayout, rotation: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(..., H) -> (..., H), or (B, H) with first_only: the first token of each text, which attends to all of its tokens."""
        residual = tokens.first(hidden) if first_only else hidden
        if self.is_pre_norm:
            hidden = residual + self.dropout(self.attention(self.attention_norm(hidden), tokens, rotation, first_only))
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        hidden = self.attention_norm(residual + self.dropout(self.attention(hidden, tokens, rotation, first_only)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))

    def attention_of(self, hidden: Tensor, tokens: PaddedTokens, rotation: Tensor | None = None) -> Tensor:
        """(B, T, H), the input of `forward` -> attention weights (B, A, T, T), zero for padding queries."""
        qkv = self.attention.project(self.attention_norm(hidden) if self.is_pre_norm else hidden, rotation)
        query, key, _ = qkv.permute(2, 0, 3, 1, 4)  # each (B, A, T, D)
        return attention_weights(query, key, tokens.mask[:, None, None, :]) * tokens.mask[:, None, :, None]


class TransformerEncoder(nn.Module):
    """A Transformer encoder trained from scratch.

    hidden_size: dimension of a token's hidden state, and so of a text's vector
    num_layers: number of layers, each of self-attention and a feed-forward layer
    num_heads: number of attention heads in a layer; each has hidden_size / num_heads dimensions
    intermediate_size: dimension between the two linear maps of a feed-forward layer
    max_positions: number of learned positions; data.max_length may not be larger where positions are learned
    type_vocab_size: number of segments with an embedding, such as the two texts of a pair; 0: none
    positions: positional encoding: learned, sinusoidal or rotary (RoPE)
    norm: layer norm before each sublayer (pre), which needs no long warm-up, or after each residual sum (post), as in BERT
    activation: activation function between the two linear maps of a feed-forward layer; geglu adds a third map as a gate
    pooling: a text's vector: first token's state (cls), cls through a dense layer (pooler), or max, mean or attention pooling
    dropout: dropout probability of the embeddings, the output of each sublayer and a text's vector
    classifier_dropout: dropout probability of a text's vector, before the classifier; null: the same as dropout
    pooler_dropout: dropout probability of the first token's state before the pooler, as in RoBERTa's classifier
    attention_dropout: dropout probability of the attention weights; 0 lets CUDA skip padding in 16-bit precision
    dropout_per_head: on a CPU, an attention dropout mask per head, as on GPUs; a shared one is faster, with up to 7.7x the variance
    embedding_norm: layer norm of the embeddings; null: with norm: post, as in BERT
    norm_eps: epsilon of layer norm, added to the variance
    packed: remove padding at the input; false: the plain padded computation, slower, with the same results
    checkpoint_activations: activation checkpointing: recompute each layer in the backward pass; less memory, more time
    compile_layers: compile the layers with torch.compile, which makes the first steps slow
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        hidden_size: int = 256,
        num_layers: int = 4,
        num_heads: int = 4,
        intermediate_size: int = 1024,
        max_positions: int = 512,
        type_vocab_size: int = 2,
        positions: Positions = "learned",
        norm: Norm = "pre",
        activation: Activation = "gelu",
        pooling: Pooling = "mean",
        dropout: float = 0.1,
        classifier_dropout: float | None = None,
        pooler_dropout: float = 0.0,
        attention_dropout: float = 0.1,
        dropout_per_head: bool = False,
        embedding_norm: bool | None = None,
        norm_eps: float = 1e-12,
        packed: bool = True,
        checkpoint_activations: bool = False,
        compile_layers: bool = False,
    ) -> None:
        super().__init__()
        sizes = (hidden_size, num_heads, intermediate_size)
        options = LayerOptions(*sizes, norm, activation, dropout, attention_dropout, norm_eps, dropout_per_head)
        check_sizes(num_layers=num_layers, max_positions=max_positions)
        check_layers(num_layers)
        check_probabilities(classifier_dropout=classifier_dropout or 0.0, pooler_dropout=pooler_dropout)
        options.check_positions(positions)
        self.num_heads, self.head_size, self.attention_dropout = num_heads, options.head_size, attention_dropout
        embedded = options.build_norm() if embedding_norm or (embedding_norm is None and norm == "post") else None
        self.embeddings = TokenEmbeddings(
            vocab_size, hidden_size, max_positions, type_vocab_size, positions=positions, norm=embedded
        )
        self.dropout, self.pooler_dropout = Dropout(dropout), Dropout(pooler_dropout)
        self.classifier_dropout = Dropout(dropout if classifier_dropout is None else classifier_dropout)
        self.layers = nn.ModuleList(TransformerLayer(options) for _ in range(num_layers))
        self.final_norm = options.build_norm() if norm == "pre" else None
        self.pooler = Linear(hidden_size, hidden_size) if pooling == "pooler" else None
        self.attention_pooling = AttentionPooling(hidden_size) if pooling == "attention" else None
        self.pooling, self.positions, self.packed = pooling, positions, packed
        self.checkpoint_activations = checkpoint_activations
        self.output_size = hidden_size
        self.max_length = max_positions if positions == "learned" else None  # no text may be longer
        self.apply(draw_weights)
        if compile_layers:
            compile_each(self.layers)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_index: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """(B, T) ids and mask -> (B, H); token_index (N,): positions of the real tokens in the flattened batch, if known."""
        is_padded = not self.packed or torch.compiler.is_exporting()  # an exported graph has no data-dependent shapes
        tokens = PaddedTokens(attention_mask) if is_padded else PackedTokens.of(attention_mask, token_index)
        first_only = self.pooling in ("cls", "pooler")
        hidden = self.encode(input_ids, tokens, token_type_ids, first_only)  # (..., H), or (B, H)
        return self.classifier_dropout(self.pool(hidden, tokens))

    def encode(
        self, input_ids: Tensor, tokens: TokenLayout, token_type_ids: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(B, T) ids -> (..., H), the last layer's hidden states in the given layout.

        first_only: (B, H) of each text's first token; the last layer computes nothing for the others.
        """
        hidden, tokens, rotation = self._embed(input_ids, tokens, token_type_ids)
        for layer in self.layers:
            is_cut = first_only and layer is self.layers[-1]
            if self.checkpoint_activations and self.training:
                hidden = checkpoint(layer, hidden, tokens, rotation, is_cut, use_reentrant=False)
            else:
                hidden = layer(hidden, tokens, rotation, is_cut)
        return hidden if self.final_norm is None else self.final_norm(hidden)

    def _embed(
        self, input_ids: Tensor, tokens: TokenLayout, token_type_ids: Tensor | None
    ) -> tuple[Tensor, TokenLayout, Tensor | None]:
        """(B, T) ids -> the first layer's input: (..., H), the tokens laid out, and the angles (..., D) of rotary positions."""
        if self.max_length is not None and input_ids.shape[1] > self.max_length:
            raise ValueError(f"a text of {input_ids.shape[1]} tokens is longer than max_positions {self.max_length}")
        types = None if token_type_ids is None else tokens.strip(token_type_ids)
        hidden = self.dropout(self.embeddings(tokens.strip(input_ids), tokens.positions, types))  # (..., H)
        tokens = lay_out(tokens, hidden, self.num_heads, self.attention_dropout if self.training else 0.0)
        rotation = rotary_angles(tokens.positions, self.head_size) if self.positions == "rotary" else None
        return hidden, tokens, rotation

    def pool(self, hidden: Tensor, tokens: TokenLayout) -> Tensor:
        """(..., H), or (B, H) of the first tokens -> (B, H)."""
        if self.pooling in ("cls", "pooler"):
            return hidden if self.pooler is None else torch.tanh(self.pooler(self.pooler_dropout(hidden)))
        padded = tokens.pad(hidden)  # (B, T, H)
        if self.attention_pooling is not None:
            return self.attention_pooling(padded, tokens.mask)
        return (masked_max if self.pooling == "max" else masked_mean)(padded, tokens.mask)

    def attention_of(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> list[Tensor]:
        """(B, T) ids and mask -> each layer's attention weights (B, A, T, T), for inspection."""
        tokens = PaddedTokens(attention_mask)
        hidden, _, rotation = self._embed(input_ids, tokens, token_type_ids)
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer.attention_of(hidden, tokens, rotation))  # type: ignore[operator]
            hidden = layer(hidden, tokens, rotation)
        return found


def draw_weights(module: nn.Module) -> None:
    """BERT's initialisation as transformers draws it: normal with a standard deviation of 0.02, biases zero.

    The code of Devlin et al. truncates the normal at two standard deviations, which leaves a standard deviation of 0.0176.
    """
    if isinstance(module, nn.Linear | Table) and module.weight.device.type != "meta":
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
