"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): the Transformer encoder as it was published, with its sizes.

DistilBERT, RoBERTa and MiniLM are this model with other sizes and weights: see pretrained.py for how those come in and go out.
"""

from graphs.models.feed_forward import Activation
from graphs.models.transformer import Pooling, TransformerEncoder, draw_weights


class Bert(TransformerEncoder):
    """BERT: post-norm, learned positions, segments, GELU, and [CLS] through a dense layer; with init_from, published weights."""

    def __init__(
        self,
        vocab_size: int,
        *,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        intermediate_size: int = 3072,
        max_positions: int = 512,
        type_vocab_size: int = 2,
        activation: Activation = "gelu",
        pooling: Pooling = "pooler",
        dropout: float = 0.1,
        classifier_dropout: float | None = None,
        pooler_dropout: float = 0.0,
        attention_dropout: float = 0.1,
        dropout_per_head: bool = False,
        norm_eps: float = 1e-12,
        checkpoint_activations: bool = False,
        compile_layers: bool = False,
    ) -> None:
        super().__init__(
            vocab_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            intermediate_size=intermediate_size,
            max_positions=max_positions,
            type_vocab_size=type_vocab_size,
            positions="learned",
            norm="post",
            activation=activation,
            pooling=pooling,
            dropout=dropout,
            classifier_dropout=classifier_dropout,
            pooler_dropout=pooler_dropout,
            attention_dropout=attention_dropout,
            dropout_per_head=dropout_per_head,
            norm_eps=norm_eps,
            checkpoint_activations=checkpoint_activations,
            compile_layers=compile_layers,
        )

    draw_head = staticmethod(draw_weights)  # a classifier on top begins as the encoder does
