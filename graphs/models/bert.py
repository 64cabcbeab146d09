"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): the Transformer encoder with the published architecture and sizes.

DistilBERT, RoBERTa and MiniLM are this model with other sizes and weights: see graphs/conversion/hugging_face.py.
"""

from typing import Any

from graphs.models.transformer import Pooling, TransformerEncoder, draw_weights


class Bert(TransformerEncoder):
    """BERT: post-norm, learned positions, segments, GELU, [CLS] through a dense layer; published weights with init_from."""

    fixed = ("positions", "norm", "embedding_norm")
    draw_head = staticmethod(draw_weights)  # initialises the classifier on top like the encoder

    def __init__(
        self,
        vocab_size: int,
        *,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        intermediate_size: int = 3072,
        pooling: Pooling = "pooler",
        **options: Any,
    ) -> None:
        options |= {"hidden_size": hidden_size, "num_layers": num_layers, "num_heads": num_heads, "pooling": pooling}
        options |= {"intermediate_size": intermediate_size, "positions": "learned", "norm": "post"}
        super().__init__(vocab_size, **options)
