"""A bidirectional LSTM over the words (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005).

B: texts, T: tokens, E: embedding size, H: hidden size of one direction.

No packed sequences: a forward LSTM runs over the padded text, a second one over each text *reversed within its own length*.
Padding then only ever follows the real tokens, so it cannot affect them, and the result is that of packed sequences, 7 to 17 times
faster on a CPU (docs/results.md) and without synchronising with a GPU for the lengths. torch.export unrolls nn.LSTM over the
example's length unless the caller enters torch.export._patches.register_lstm_while_loop_decomposition().
"""

from typing import Literal

import torch
from torch import Tensor, nn

from graphs.layers.embedding import PAD_ID, Embedding
from graphs.layers.option_checks import check_layers, check_probabilities, check_sizes
from graphs.layers.pooling import AttentionPooling, masked_max, masked_mean


class BiLSTM(nn.Module):
    """Bidirectional LSTM layers, then one vector per text: the final states, or the hidden states pooled.

    embedding_size: dimension of the word embeddings
    hidden_size: dimension of the hidden state of one direction; a text's vector is twice as large
    num_layers: number of stacked bidirectional LSTM layers
    pooling: last: the final hidden state of each direction; or max, mean or attention pooling of all hidden states
    dropout: dropout probability of the input of each layer
    word_dropout: probability of replacing a token by padding in training
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding_size: int = 100,
        hidden_size: int = 100,
        num_layers: int = 1,
        pooling: Literal["last", "max", "mean", "attention"] = "max",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(embedding_size=embedding_size, hidden_size=hidden_size)
        check_layers(num_layers)
        check_probabilities(dropout=dropout, word_dropout=word_dropout)
        self.embedding = Embedding(vocab_size, embedding_size)
        sizes = [embedding_size] + [2 * hidden_size] * (num_layers - 1)
        self.forward_layers = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.attention = AttentionPooling(2 * hidden_size) if pooling == "attention" else None
        self.pooling, self.word_dropout = pooling, word_dropout
        self.dropout = nn.Dropout(dropout)  # nn.LSTM's own has a state on CUDA that no seed restores
        self.output_size = 2 * hidden_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) ids and mask -> (B, 2H)."""
        hidden = self.dropout(self.embedding(self._drop_words(input_ids)))  # (B, T, E)
        flip = reversed_positions(attention_mask)  # (B, T)
        last = attention_mask.sum(dim=1).clamp(min=1) - 1  # (B,)
        layers = zip(self.forward_layers, self.backward_layers, strict=True)
        for depth, (forward_lstm, backward_lstm) in enumerate(layers):
            hidden = self.dropout(hidden) if depth else hidden
            forward_hidden, _ = forward_lstm(hidden)  # (B, T, H)
            backward_hidden, _ = backward_lstm(reorder(hidden, flip))  # (B, T, H), last word first
            hidden = torch.cat([forward_hidden, reorder(backward_hidden, flip)], dim=-1)  # (B, T, 2H)
        if self.pooling == "last":
            rows = torch.arange(last.shape[0], device=last.device)
            return torch.cat([forward_hidden[rows, last], backward_hidden[rows, last]], dim=-1)
        return self._pool(hidden, attention_mask)

    def _pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.attention is not None:
            return self.attention(hidden, attention_mask)
        return (masked_max if self.pooling == "max" else masked_mean)(hidden, attention_mask)

    def _drop_words(self, input_ids: Tensor) -> Tensor:
        """In training, replace random words by padding, whose embedding is zero (Iyyer et al. 2015, section 3.2)."""
        if not self.training or self.word_dropout == 0:
            return input_ids
        is_dropped = torch.rand(input_ids.shape, device=input_ids.device) < self.word_dropout
        return input_ids.masked_fill(is_dropped, PAD_ID)


def reversed_positions(attention_mask: Tensor) -> Tensor:
    """(B, T) mask -> (B, T) positions that reverse each text within its length; padding stays where it is."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)[None]  # (1, T)
    lengths = attention_mask.sum(dim=1, keepdim=True)  # (B, 1)
    return torch.where(attention_mask, lengths - 1 - positions, positions)


def reorder(hidden: Tensor, positions: Tensor) -> Tensor:
    """(B, T, H) with the tokens of each text in the order of positions (B, T)."""
    return hidden.gather(1, positions[:, :, None].expand_as(hidden))
