"""Bag of embeddings: a text as the mean, sum or maximum of its word embeddings (Joulin et al. 2016, https://arxiv.org/abs/1607.01759).

B: texts, T: tokens, E: embedding size. N-grams are tokens too: see the tokenizer's option `ngrams`.
"""

from typing import Literal

from torch import Tensor, nn

from graphs.layers.embedding import Embedding, bag_sum
from graphs.layers.option_checks import check_probabilities, check_sizes
from graphs.layers.pooling import masked_max


class BagOfEmbeddings(nn.Module):
    """Mean, sum or maximum of the word embeddings, ignoring word order.

    embedding_size: dimension of the word embeddings, and so of a text's vector; null: 10 for up to 10 labels, 100 for more
    pooling: how a text's word embeddings become one vector
    dropout: dropout probability of a text's vector

    A linear classifier on E dimensions has rank E at most: with fewer dimensions than labels, some labels are hard to tell apart.
    """

    def __init__(
        self,
        vocab_size: int,
        sparse_gradients: bool = False,
        num_labels: int = 2,
        *,
        embedding_size: int | None = None,
        pooling: Literal["mean", "sum", "max"] = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        embedding_size = (10 if num_labels <= 10 else 100) if embedding_size is None else embedding_size
        check_sizes(embedding_size=embedding_size)
        check_probabilities(dropout=dropout)
        self.embedding = Embedding(vocab_size, embedding_size, sparse=sparse_gradients and pooling != "max")
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.output_size = embedding_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) ids and mask -> (B, E)."""
        if self.pooling == "max":
            return self.dropout(masked_max(self.embedding(input_ids), attention_mask))
        total, lengths = bag_sum(self.embedding, input_ids, attention_mask)  # (B, E), (B,)
        if self.pooling == "mean":
            total = total / lengths[:, None].clamp(min=1)
        return self.dropout(total)
