"""The model of the peers in masked language modelling: hidden size 256, 4 layers, 4 heads, 1,024, without dropout."""

from transformers import BertConfig, BertForMaskedLM


def small_bert(vocab_size: int) -> BertForMaskedLM:
    """With freshly drawn weights."""
    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocab_size,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
