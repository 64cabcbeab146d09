"""Names of the tensors in published files of BERT, RoBERTa and DistilBERT, and ours."""

# Prefixes of tensor names, theirs -> ours; # is the layer's index. Query, key and value are then joined into one matrix.
EMBEDDING_NAMES = {
    "embeddings.word_embeddings.": "embeddings.token.",
    "embeddings.position_embeddings.": "embeddings.position.",
    "embeddings.token_type_embeddings.": "embeddings.segment.",
    "embeddings.LayerNorm.": "embeddings.norm.",
}
BERT_NAMES = {
    **EMBEDDING_NAMES,
    "encoder.layer.#.attention.self.query.": "layers.#.attention.query.",
    "encoder.layer.#.attention.self.key.": "layers.#.attention.key.",
    "encoder.layer.#.attention.self.value.": "layers.#.attention.value.",
    "encoder.layer.#.attention.output.dense.": "layers.#.attention.output.",
    "encoder.layer.#.attention.output.LayerNorm.": "layers.#.attention_norm.",
    "encoder.layer.#.intermediate.dense.": "layers.#.feed_forward.up.",
    "encoder.layer.#.output.dense.": "layers.#.feed_forward.down.",
    "encoder.layer.#.output.LayerNorm.": "layers.#.feed_forward_norm.",
    "pooler.dense.": "pooler.",
    "classifier.weight": "head.weight",
    "classifier.bias": "head.bias",
}
ROBERTA_NAMES = {
    **{theirs: ours for theirs, ours in BERT_NAMES.items() if not theirs.startswith("classifier.")},
    "classifier.dense.": "pooler.",  # the first layer of RoBERTa's classifier is BERT's pooler, tanh included
    "classifier.out_proj.": "head.",
}
# DistilBERT's classifier is exported, but cannot be imported: it applies a ReLU after `pre_classifier`, and the pooler here a tanh.
DISTILBERT_NAMES = {
    **EMBEDDING_NAMES,
    "transformer.layer.#.attention.q_lin.": "layers.#.attention.query.",
    "transformer.layer.#.attention.k_lin.": "layers.#.attention.key.",
    "transformer.layer.#.attention.v_lin.": "layers.#.attention.value.",
    "transformer.layer.#.attention.out_lin.": "layers.#.attention.output.",
    "transformer.layer.#.sa_layer_norm.": "layers.#.attention_norm.",
    "transformer.layer.#.ffn.lin1.": "layers.#.feed_forward.up.",
    "transformer.layer.#.ffn.lin2.": "layers.#.feed_forward.down.",
    "transformer.layer.#.output_layer_norm.": "layers.#.feed_forward_norm.",
}
NAMES = {"bert": BERT_NAMES, "roberta": ROBERTA_NAMES, "distilbert": DISTILBERT_NAMES}
QKV = ("query", "key", "value")
# The heads of pre-training, of BertForPreTraining, RobertaForMaskedLM and DistilBertForMaskedLM; their last matrix is the table.
BERT_HEADS = {
    "cls.predictions.transform.dense.": "tokens.dense.",
    "cls.predictions.transform.LayerNorm.": "tokens.norm.",
    "cls.predictions.bias": "tokens.bias",
    "cls.seq_relationship.": "pairs.",
}
HEADS = {
    "bert": BERT_HEADS,
    "roberta": {
        "lm_head.dense.": "tokens.dense.",
        "lm_head.layer_norm.": "tokens.norm.",
        "lm_head.bias": "tokens.bias",
    },
    "distilbert": {
        "vocab_transform.": "tokens.dense.",
        "vocab_layer_norm.": "tokens.norm.",
        "vocab_projector.bias": "tokens.bias",
    },
}
