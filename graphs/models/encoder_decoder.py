"""The encoder-decoder Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), with later improvements as options.

B: texts, S and T: tokens of the longest source and target, M and N: their real tokens, H: hidden size, V: target vocabulary,
K: rows that are generated for each text (beams); ...: (N,) packed tokens or (B, T) padded ones.

The file follows the flow of the data: the source through the encoder, the target through the decoder, whose layers also attend to
the source, and the product with the table of target tokens. `forward` knows the whole target; `begin` and `step` generate it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphs.layers.attention import CrossAttention, SelfAttention, attention_weights
from graphs.layers.dropout import Dropout
from graphs.layers.embedding import Table
from graphs.layers.feed_forward import Activation, FeedForwardLayer
from graphs.layers.linear import linear
from graphs.layers.option_checks import check_layers
from graphs.layers.packed_attention import CrossLayout, lay_out
from graphs.layers.past_tokens import Generation, PastTokens, SourceHeads
from graphs.layers.positions import rotary_angles
from graphs.layers.token_layout import PackedTokens, PaddedTokens, TokenLayout
from graphs.models.compiling import compile_each
from graphs.models.layer_options import LayerOptions, Norm
from graphs.models.transformer import Positions, TokenEmbeddings, TransformerEncoder

Tie = Literal["all", "target", "none"]


@dataclass(frozen=True)
class Source:
    """A batch of encoded sources: memory (..., H) in the layout `tokens`; cross: how packed attention to it is padded."""

    memory: Tensor
    tokens: TokenLayout
    cross: CrossLayout | None = None


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source, and a feed-forward layer, each with a residual connection (section 3.1)."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        size, num_heads, dropout = options.hidden_size, options.num_heads, options.attention_dropout
        self.is_pre_norm = options.is_pre_norm
        self.attention = SelfAttention(size, num_heads, dropout=dropout, is_causal=True)
        self.attention_norm = options.build_norm()
        self.cross_attention = CrossAttention(size, num_heads, dropout=dropout)
        self.cross_attention_norm = options.build_norm()
        self.feed_forward = FeedForwardLayer(size, options.intermediate_size, options.activation)
        self.feed_forward_norm = options.build_norm()
        self.dropout = Dropout(options.dropout)

    def forward(self, hidden: Tensor, tokens: TokenLayout, source: Source, rotation: Tensor | None = None) -> Tensor:
        """(..., H) -> (..., H)."""
        hidden = self.add(hidden, self.attention_norm, lambda x: self.attention(x, tokens, rotation))
        look = partial(self.cross_attention, tokens=tokens, memory=source.memory, sources=source.tokens)
        hidden = self.add(hidden, self.cross_attention_norm, lambda x: look(x, layout=source.cross))
        return self.add(hidden, self.feed_forward_norm, self.feed_forward)

    def step(self, hidden: Tensor, past: PastTokens, own: Tensor | None, source: SourceHeads, rotation: Any) -> Tensor:
        """(B, K, H) of the newest tokens -> (B, K, H); own (B, K, t): which tokens of the past are the row's own."""
        hidden = self.add(hidden, self.attention_norm, lambda x: self.attention.step(x, past, own, rotation))
        look = partial(self.cross_attention.attend, keys_values=source.keys_values, source_mask=source.mask)
        hidden = self.add(hidden, self.cross_attention_norm, look)
        return self.add(hidden, self.feed_forward_norm, self.feed_forward)

    def add(self, hidden: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """The hidden states and what a sublayer makes of them; layer norm before it (pre) or after the sum (post)."""
        if self.is_pre_norm:
            return hidden + self.dropout(sublayer(norm(hidden)))
        normalised: Tensor = norm(hidden + self.dropout(sublayer(hidden)))
        return normalised


class EncoderDecoder(nn.Module):
    """A Transformer that maps a text to a text, trained from scratch.

    hidden_size: dimension of a token's hidden state
    num_layers: number of encoder layers
    num_decoder_layers: number of decoder layers; null: as many as num_layers
    num_heads: number of attention heads in a layer; each has hidden_size / num_heads dimensions
    intermediate_size: dimension between the two linear maps of a feed-forward layer
    max_positions: number of learned positions; data.max_length may not be larger where positions are learned
    positions: positional encoding: learned, sinusoidal or rotary (RoPE)
    norm: layer norm before each sublayer (pre), which needs no long warm-up, or after each residual sum (post), as in the paper
    activation: activation function between the two linear maps of a feed-forward layer; geglu adds a third map as a gate
    tie_embeddings: one table for source, target and output (all), for target and output (target), or three tables (none)
    dropout: dropout probability of the embeddings and the output of each sublayer
    attention_dropout: dropout probability of the attention weights
    norm_eps: epsilon of layer norm, added to the variance
    packed: remove padding at the input; false: the plain padded computation, slower, with the same results
    checkpoint_activations: activation checkpointing: recompute each layer in the backward pass; less memory, more time
    compile_layers: compile the layers with torch.compile, which makes the first steps slow
    """

    def __init__(
        self,
        vocab_size: int,
        target_vocab_size: int | None = None,
        *,
        hidden_size: int = 256,
        num_layers: int = 3,
        num_decoder_layers: int | None = None,
        num_heads: int = 4,
        intermediate_size: int = 1024,
        max_positions: int = 512,
        positions: Positions = "sinusoidal",
        norm: Norm = "pre",
        activation: Activation = "relu",
        tie_embeddings: Tie = "all",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        norm_eps: float = 1e-5,
        packed: bool = True,
        checkpoint_activations: bool = False,
        compile_layers: bool = False,
    ) -> None:
        super().__init__()
        if num_decoder_layers is not None:
            check_layers(num_decoder_layers, "num_decoder_layers")
        if tie_embeddings == "all" and target_vocab_size is not None:
            raise ValueError("tie_embeddings: all needs one tokenizer for both sides, and the targets have their own")
        sizes = (hidden_size, num_heads, intermediate_size)
        options = LayerOptions(*sizes, norm, activation, dropout, attention_dropout, norm_eps)
        shared: dict[str, Any] = {"num_layers": num_layers, "max_positions": max_positions, "positions": positions}
        shared |= {"checkpoint_activations": checkpoint_activations, "compile_layers": compile_layers, "packed": packed}
        encoder = TransformerEncoder(vocab_size, type_vocab_size=0, embedding_norm=False, **vars(options), **shared)
        self.encoders = nn.ModuleList([encoder])  # the name under which every task keeps its encoders
        target_size = vocab_size if target_vocab_size is None else target_vocab_size
        own = None if tie_embeddings == "all" else target_size
        self.embeddings = TokenEmbeddings(own, hidden_size, max_positions, 0, positions=positions, norm=None)
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(num_decoder_layers or num_layers))
        self.final_norm = options.build_norm() if norm == "pre" else None
        self.output = Table(target_size, hidden_size) if tie_embeddings == "none" else None
        self.dropout = Dropout(dropout)
        self.num_heads, self.head_size, self.attention_dropout = num_heads, options.head_size, attention_dropout
        self.positions, self.packed, self.checkpoint_activations = positions, packed, checkpoint_activations
        self.max_length: int | None = encoder.max_length
        self.apply(draw_weights)
        if compile_layers:
            compile_each(self.layers)

    @property
    def encoder(self) -> TransformerEncoder:
        encoder = self.encoders[0]
        assert isinstance(encoder, TransformerEncoder)
        return encoder

    @property
    def table(self) -> Tensor:
        """(V, H) the embeddings of target tokens."""
        own = self.encoder.embeddings.token if self.embeddings.token is None else self.embeddings.token
        assert own is not None
        return own.weight

    @property
    def output_table(self) -> Tensor:
        """(V, H), the weight of the output projection."""
        return self.table if self.output is None else self.output.weight

    def forward(self, batch: Any, loss: Any = None) -> Any:
        """A PairBatch -> next-token logits (N, V) at each real target token.

        loss: -> instead loss(states (N, H), output table (V, H), labels (N,)), which need not have all logits at once; without
        `packed` loss.of_logits(logits, labels), the formula.
        """
        layout = PackedTokens.of if self.packed else lambda mask, _: PaddedTokens(mask)
        sources: TokenLayout = layout(batch.attention_mask, batch.token_index)
        targets: TokenLayout = layout(batch.target_mask, batch.target_index)
        source = Source(self.encoder.encode(batch.input_ids, sources), sources)
        hidden = self.decode(batch.target_ids, targets, source)  # (..., H)
        if isinstance(targets, PaddedTokens):
            hidden = hidden.flatten(0, 1).index_select(0, batch.target_index)
        if loss is not None and self.packed:
            return loss(self.normalised(hidden), self.output_table, batch.labels)
        logits = self.logits(hidden)
        return logits if loss is None else loss.of_logits(logits, batch.labels)

    def decode(self, target_ids: Tensor, tokens: TokenLayout, source: Source) -> Tensor:
        """(B, T) ids of the targets -> (..., H): no token's state depends on those after it."""
        if self.max_length is not None and target_ids.shape[1] > self.max_length:
            raise ValueError(f"a target of {target_ids.shape[1]} tokens is longer than max_positions {self.max_length}")
        hidden = self.embed(tokens.strip(target_ids), tokens.positions)
        p = self.attention_dropout if self.training else 0.0
        tokens = lay_out(tokens, hidden, self.num_heads, p)
        if isinstance(tokens, PackedTokens) and isinstance(source.tokens, PackedTokens) and tokens.heads is not None:
            source = Source(source.memory, source.tokens, CrossLayout.of(tokens, source.tokens, self.num_heads))
        rotation = self.rotation(tokens.positions)
        for layer in self.layers:
            if self.checkpoint_activations and self.training:
                hidden = checkpoint(layer, hidden, tokens, source, rotation, use_reentrant=False)
            else:
                hidden = layer(hidden, tokens, source, rotation)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., H) -> (..., V)."""
        return linear(self.normalised(hidden), self.output_table)

    def normalised(self, hidden: Tensor) -> Tensor:
        """(..., H) of the last layer -> (..., H), with pre-norm layers normalised."""
        return hidden if self.final_norm is None else self.final_norm(hidden)

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """(...) -> (..., H)."""
        return self.dropout(self.embeddings(ids, positions, table=self.table))

    def rotation(self, positions: Tensor) -> Tensor | None:
        """(...) -> (..., D) the angles of rotary positions."""
        return rotary_angles(positions, self.head_size) if self.positions == "rotary" else None

    def begin(self, input_ids: Tensor, attention_mask: Tensor, num_rows: int = 1) -> Generation:
        """Encode sources (B, S), each of which has a real token, to generate K = num_rows rows for each."""
        tokens = PackedTokens.of(attention_mask) if self.packed else PaddedTokens(attention_mask)
        memory = tokens.pad(self.encoder.encode(input_ids, tokens))  # (B, S, H)
        layers: list[Any] = list(self.layers)
        heads = [layer.cross_attention.keys_values(memory).contiguous() for layer in layers]
        return Generation([SourceHeads(each, attention_mask) for each in heads], num_rows)

    def step(self, ids: Tensor, generation: Generation) -> Tensor:
        """(B, K) the newest token of each row -> logits (B, K, V) of the one after it."""
        positions = torch.full_like(ids, generation.length)
        hidden, rotation = self.embed(ids, positions), self.rotation(positions)
        own = generation.ancestry.add(len(ids), ids.device)
        layers: list[Any] = list(self.layers)
        for layer, past, source in zip(layers, generation.pasts, generation.sources, strict=True):
            hidden = layer.step(hidden, past, own, source, rotation)
        generation.length += 1
        return self.logits(hidden)

    def cross_attention_of(self, input_ids: Tensor, attention_mask: Tensor, target_ids: Tensor) -> list[Tensor]:
        """Sources (B, S) and whole targets (B, T) -> each layer's attention weights (B, A, T, S), for inspection."""
        sources, tokens = PaddedTokens(attention_mask), PaddedTokens(torch.ones_like(target_ids, dtype=torch.bool))
        source = Source(self.encoder.encode(input_ids, sources), sources)
        hidden, found = self.embed(target_ids, tokens.positions), list[Tensor]()
        rotation, mask = self.rotation(tokens.positions), attention_mask[:, None, None, :]
        layers: list[Any] = list(self.layers)
        for layer in layers:
            own = layer.add(hidden, layer.attention_norm, lambda x, at=layer.attention: at(x, tokens, rotation))
            asked = layer.cross_attention_norm(own) if layer.is_pre_norm else own
            key, _ = layer.cross_attention.keys_values(source.memory)
            found.append(attention_weights(layer.cross_attention.queries(asked), key, mask))
            hidden = layer(hidden, tokens, source, rotation)
        return found


def draw_weights(module: nn.Module) -> None:
    """Uniform weights after Glorot and Bengio 2010, and embeddings with a standard deviation of H^-0.5, as in the authors' code."""
    if isinstance(module, nn.Linear) and module.weight.device.type != "meta":
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Table) and module.weight.device.type != "meta":
        nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
