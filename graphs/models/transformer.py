"""The Transformer encoder (Vaswani et al. 2017, Devlin et al. 2019), with what has been learnt since as options.

B: texts, T: tokens of the longest, N: real tokens of all texts, H: hidden size.

The file reads in the order of the data: embeddings, layers, pooling. Padding is stripped at the door and all work done on (N, H),
so a text costs what its own tokens cost; only the attention itself may pad again (attention.py).
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphs.layers.attention import RealTokens, SelfAttention, attention_weights, lay_out
from graphs.layers.compiling import compile_each
from graphs.layers.dropout import Dropout
from graphs.layers.embedding import Table
from graphs.layers.feed_forward import Activation, FeedForwardLayer
from graphs.layers.option_checks import check_layers, check_shares, check_sizes
from graphs.layers.pooling import AttentionPooling, masked_max, masked_mean
from graphs.layers.positions import rotary_angles, sinusoids

Positions = Literal["learned", "sinusoidal", "rotary"]
Norm = Literal["pre", "post"]
Pooling = Literal["cls", "pooler", "mean", "max", "attention"]


class TokenEmbeddings(nn.Module):
    """The sum of a token's, its position's and its segment's vector; normalised where the layers expect that (post-norm)."""

    def __init__(
        self,
        vocab_size: int,
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
        self.token = Table(vocab_size, hidden_size)
        self.position = Table(max_positions, hidden_size) if positions == "learned" else None
        self.segment = Table(type_vocab_size, hidden_size) if type_vocab_size else None
        self.norm = norm

    def forward(self, input_ids: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """(N,) ids, positions and segments -> (N, H)."""
        hidden: Tensor = self.token(input_ids)
        if self.is_sinusoidal:  # the root brings words nearer to the size of sines (Vaswani et al. 2017, section 3.4)
            hidden = hidden * hidden.shape[1] ** 0.5 + sinusoids(positions, hidden.shape[1])
        if self.position is not None:
            hidden = hidden + self.position(positions)
        if self.segment is not None:
            has_types = token_type_ids is not None and self.segment.num_embeddings > 1
            hidden = hidden + (self.segment(token_type_ids) if has_types else self.segment.weight[0])
        return hidden if self.norm is None else self.norm(hidden)


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward layer, each added to what it was given; the norm comes after the sum, or before the layer.

    Post-norm is the original (Vaswani et al. 2017, section 3.1); pre-norm trains without a long warm-up (Xiong et al. 2020).
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        norm: Norm,
        activation: Activation,
        dropout: float,
        attention_dropout: float,
        norm_eps: float,
        dropout_per_head: bool = False,
    ) -> None:
        super().__init__()
        self.is_pre_norm = norm == "pre"
        self.attention = SelfAttention(hidden_size, num_heads, dropout=attention_dropout, per_head=dropout_per_head)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.feed_forward = FeedForwardLayer(hidden_size, intermediate_size, activation)
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(
        self, hidden: Tensor, tokens: RealTokens, rotation: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(N, H) -> (N, H), or (B, H) with first_only: the first token of each text, which has looked at all of them."""
        rest = hidden.index_select(0, tokens.offsets[:-1]) if first_only else hidden
        if self.is_pre_norm:
            hidden = rest + self.dropout(self.attention(self.attention_norm(hidden), tokens, rotation, first_only))
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        hidden = self.attention_norm(rest + self.dropout(self.attention(hidden, tokens, rotation, first_only)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))

    def attention_of(self, hidden: Tensor, tokens: RealTokens, rotation: Tensor | None = None) -> Tensor:
        """(N, H), as `forward` gets it -> the weights (B, A, T, T) of its attention, for inspection."""
        qkv = self.attention.project(self.attention_norm(hidden) if self.is_pre_norm else hidden, rotation)
        return attention_weights(tokens.pad(qkv), tokens.mask)


class TransformerEncoder(nn.Module):
    """A Transformer encoder, to be trained from nothing.

    hidden_size: numbers in a token's state, and so in a text's vector
    num_layers: layers of attention and feed-forward on top of each other
    num_heads: attentions side by side in a layer, each on hidden_size / num_heads of the numbers
    intermediate_size: numbers between the two linear maps of a feed-forward layer
    max_positions: how many positions have a vector where those are learned; data.max_length may not be larger then
    type_vocab_size: segments that have a vector of their own, such as the two texts of a pair; 0: none
    positions: how a token knows its place: a learned vector, a fixed wave, or turned queries and keys (rotary)
    norm: pre: layers read normalised states, which needs no long warm-up; post: their sums are normalised, as in BERT
    activation: between the two linear maps of a feed-forward layer; geglu has a third one, which gates
    pooling: a text's vector is the first state (cls), that through a dense layer (pooler), or the max, mean or learnt mean of all
    dropout: the share of numbers set to zero in training, in the embeddings, after each layer's two parts and in a text's vector
    classifier_dropout: dropout of a text's vector, before the classifier; null: as dropout
    pooler_dropout: dropout of the first token's state before the pooler, as in RoBERTa's classifier
    attention_dropout: the share of the attention's weights set to zero in training; 0: on CUDA in 16 bits nothing is padded at all
    dropout_per_head: on a CPU, a mask of attention dropout per head, as on GPUs; one for all is faster, but up to 7.5x the variance
    norm_eps: what is added to the variance in a norm
    checkpoint_activations: compute each layer again in the backward pass instead of keeping its numbers: less memory, more time
    compile_layers: have torch.compile make kernels for the layers, which takes its time at the first steps
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
        norm_eps: float = 1e-12,
        checkpoint_activations: bool = False,
        compile_layers: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(hidden_size=hidden_size, num_layers=num_layers, num_heads=num_heads)
        check_sizes(intermediate_size=intermediate_size, max_positions=max_positions)
        classifier_dropout = dropout if classifier_dropout is None else classifier_dropout
        check_shares(dropout=dropout, attention_dropout=attention_dropout)
        check_shares(classifier_dropout=classifier_dropout, pooler_dropout=pooler_dropout)
        check_layers(num_layers)
        self.num_heads, self.head_size, self.attention_dropout = num_heads, hidden_size // num_heads, attention_dropout
        if positions == "rotary" and self.head_size % 2:
            raise ValueError(f"positions: rotary: hidden_size / num_heads must be even, got {self.head_size}")
        if norm_eps <= 0:
            raise ValueError(f"norm_eps must be positive, got {norm_eps}")
        build_norm = partial(nn.LayerNorm, hidden_size, eps=norm_eps)
        sizes = (vocab_size, hidden_size, max_positions, type_vocab_size)
        self.embeddings = TokenEmbeddings(*sizes, positions=positions, norm=build_norm() if norm == "post" else None)
        self.dropout, self.classifier_dropout = Dropout(dropout), Dropout(classifier_dropout)
        self.pooler_dropout = Dropout(pooler_dropout)
        build_layer = partial(TransformerLayer, hidden_size, num_heads, intermediate_size, norm=norm, norm_eps=norm_eps)
        self.layers = nn.ModuleList(
            build_layer(
                activation=activation,
                dropout=dropout,
                attention_dropout=attention_dropout,
                dropout_per_head=dropout_per_head,
            )
            for _ in range(num_layers)
        )
        self.final_norm = build_norm() if norm == "pre" else None
        self.pooler = nn.Linear(hidden_size, hidden_size) if pooling == "pooler" else None
        self.attention_pooling = AttentionPooling(hidden_size) if pooling == "attention" else None
        self.pooling, self.positions = pooling, positions
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
        """(B, T) ids and mask -> (B, H); token_index (N,): the places of the real tokens in the flattened batch, if known."""
        tokens = RealTokens.of(attention_mask, token_index)
        first_only = self.pooling in ("cls", "pooler")
        hidden = self.encode(input_ids, tokens, token_type_ids, first_only)  # (N, H), or (B, H)
        return self.classifier_dropout(self._pool(hidden, tokens))

    def encode(
        self, input_ids: Tensor, tokens: RealTokens, token_type_ids: Tensor | None = None, first_only: bool = False
    ) -> Tensor:
        """(B, T) ids -> (N, H), the last layer's state of every real token.

        first_only: (B, H) of each text's first token; all that the last layer would do for the others is left out.
        """
        hidden, tokens, rotation = self._enter(input_ids, tokens, token_type_ids)
        for layer in self.layers:
            is_cut = first_only and layer is self.layers[-1]
            if self.checkpoint_activations and self.training:
                hidden = checkpoint(layer, hidden, tokens, rotation, is_cut, use_reentrant=False)
            else:
                hidden = layer(hidden, tokens, rotation, is_cut)
        return hidden if self.final_norm is None else self.final_norm(hidden)

    def _enter(
        self, input_ids: Tensor, tokens: RealTokens, token_type_ids: Tensor | None
    ) -> tuple[Tensor, RealTokens, Tensor | None]:
        """(B, T) ids -> what the first layer gets: (N, H), the tokens laid out, and the angles (N, D) of rotary positions."""
        if self.max_length is not None and input_ids.shape[1] > self.max_length:
            raise ValueError(f"a text of {input_ids.shape[1]} tokens is longer than max_positions {self.max_length}")
        types = None if token_type_ids is None else tokens.strip(token_type_ids)
        hidden = self.dropout(self.embeddings(tokens.strip(input_ids), tokens.positions, types))  # (N, H)
        tokens = lay_out(tokens, hidden, self.num_heads, self.attention_dropout if self.training else 0.0)
        rotation = rotary_angles(tokens.positions, self.head_size) if self.positions == "rotary" else None
        return hidden, tokens, rotation

    def _pool(self, hidden: Tensor, tokens: RealTokens) -> Tensor:
        """(N, H), or (B, H) of the first tokens -> (B, H)."""
        if self.pooling in ("cls", "pooler"):
            return hidden if self.pooler is None else torch.tanh(self.pooler(self.pooler_dropout(hidden)))
        padded = tokens.pad(hidden)  # (B, T, H)
        if self.attention_pooling is not None:
            return self.attention_pooling(padded, tokens.mask)
        return (masked_max if self.pooling == "max" else masked_mean)(padded, tokens.mask)

    def attention_of(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> list[Tensor]:
        """(B, T) ids and mask -> each layer's attention (B, A, T, T): how every token shares it among the tokens of its text."""
        hidden, tokens, rotation = self._enter(input_ids, RealTokens.of(attention_mask), token_type_ids)
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer.attention_of(hidden, tokens, rotation))  # type: ignore[operator]
            hidden = layer(hidden, tokens, rotation)
        return found


def draw_weights(module: nn.Module) -> None:
    """BERT's initialisation as transformers draws it: normal with a standard deviation of 0.02, biases zero.

    The code that Devlin et al. published cuts the normal off at two deviations, which leaves a standard deviation of 0.0176.
    """
    if isinstance(module, nn.Linear | Table) and module.weight.device.type != "meta":
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
