"""Published weights in and out: the names and options of Hugging Face's BERT, DistilBERT and RoBERTa, and ours.

Their files are a dictionary of tensors by name and a config.json. Here are pure functions between those and what bert.py has; who
reads and writes the files is utils/model_files.py.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# config.json -> our options. BERT's names serve for RoBERTa, and for what derives from both with other weights only.
_BERT_OPTIONS = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_positions",
    "type_vocab_size": "type_vocab_size",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
}
_DISTILBERT_OPTIONS = {
    "dim": "hidden_size",
    "n_layers": "num_layers",
    "n_heads": "num_heads",
    "hidden_dim": "intermediate_size",
    "max_position_embeddings": "max_positions",
    "activation": "activation",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
}
_OPTIONS = {
    "bert": _BERT_OPTIONS,
    "roberta": _BERT_OPTIONS,
    "xlm-roberta": _BERT_OPTIONS,
    "camembert": _BERT_OPTIONS,
    "distilbert": _DISTILBERT_OPTIONS,
}
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_FIRST_POSITION = (
    2  # RoBERTa's table begins with two rows that no token uses: padding's id is 1, and positions begin after it
)

# A tensor's name -> ours, by regular expression; the three of query, key and value are one matrix here.
_BERT_NAMES = {
    r"embeddings\.word_embeddings\.": "embeddings.token.",
    r"embeddings\.position_embeddings\.": "embeddings.position.",
    r"embeddings\.token_type_embeddings\.": "embeddings.segment.",
    r"embeddings\.LayerNorm\.": "embeddings.norm.",
    r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.": r"layers.\1.attention.\2.",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.": r"layers.\1.attention.output.",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.": r"layers.\1.attention_norm.",
    r"encoder\.layer\.(\d+)\.intermediate\.dense\.": r"layers.\1.feed_forward.up.",
    r"encoder\.layer\.(\d+)\.output\.dense\.": r"layers.\1.feed_forward.down.",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm\.": r"layers.\1.feed_forward_norm.",
    r"pooler\.dense\.": "pooler.",
    r"classifier\.dense\.": "pooler.",  # RoBERTa's head begins with what BERT calls the pooler
    r"classifier\.(?:out_proj\.)?(weight|bias)$": r"head.\1",
}
_DISTILBERT_NAMES = {
    **{pattern: name for pattern, name in _BERT_NAMES.items() if pattern.startswith("embeddings")},
    r"transformer\.layer\.(\d+)\.attention\.q_lin\.": r"layers.\1.attention.query.",
    r"transformer\.layer\.(\d+)\.attention\.k_lin\.": r"layers.\1.attention.key.",
    r"transformer\.layer\.(\d+)\.attention\.v_lin\.": r"layers.\1.attention.value.",
    r"transformer\.layer\.(\d+)\.attention\.out_lin\.": r"layers.\1.attention.output.",
    r"transformer\.layer\.(\d+)\.sa_layer_norm\.": r"layers.\1.attention_norm.",
    r"transformer\.layer\.(\d+)\.ffn\.lin1\.": r"layers.\1.feed_forward.up.",
    r"transformer\.layer\.(\d+)\.ffn\.lin2\.": r"layers.\1.feed_forward.down.",
    r"transformer\.layer\.(\d+)\.output_layer_norm\.": r"layers.\1.feed_forward_norm.",
}
_QKV = ("query", "key", "value")


def architecture(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of our Bert that a config.json says. Raises ValueError for another architecture."""
    kind = values.get("model_type")
    if kind not in _OPTIONS:
        raise ValueError(f"is a model of type {kind!r}; known: {', '.join(_OPTIONS)}")
    if values.get("position_embedding_type", "absolute") != "absolute" or values.get("is_decoder"):
        raise ValueError("has relative positions or is a decoder, which BERT here is not")
    missing = [name for name in _OPTIONS[kind] if name not in values]
    options = {ours: values[name] for name, ours in _OPTIONS[kind].items() if name in values}
    if kind == "distilbert":
        options |= {"type_vocab_size": 0, "norm_eps": 1e-12}
    elif "layer_norm_eps" in missing:
        options["norm_eps"] = 1e-12
        missing.remove("layer_norm_eps")
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    if options["activation"] not in _ACTIVATIONS:
        raise ValueError(f"has the activation {options['activation']!r}; known: {', '.join(_ACTIVATIONS)}")
    options["activation"] = _ACTIVATIONS[options["activation"]]
    if _has_shifted_positions(kind):
        options["max_positions"] -= _FIRST_POSITION
    return options


def from_hugging_face(weights: Mapping[str, Tensor], kind: str) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a published model -> ({our name: tensor}, the names of those that we have no use for).

    `head.weight` and `head.bias` among them are those of a classifier; a layer before it, in DistilBERT, is not taken.
    """
    patterns = _DISTILBERT_NAMES if kind == "distilbert" else _BERT_NAMES
    found: dict[str, Tensor] = {}
    unused = []
    for name, tensor in weights.items():
        plain = re.sub(r"^(bert|roberta|distilbert)\.", "", name)
        plain = plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        ours = next((re.sub(p, new, plain) for p, new in patterns.items() if re.match(p, plain)), None)
        if ours is None:
            unused.append(name)
        else:
            found[ours] = tensor
    if _has_shifted_positions(kind) and "embeddings.position.weight" in found:
        found["embeddings.position.weight"] = found["embeddings.position.weight"][_FIRST_POSITION:]
    return _joined(found), [name for name in unused if not name.endswith("position_ids")]


def to_hugging_face(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our Bert's tensors (`head.weight`, `head.bias` those of the classifier) -> the names of BertForSequenceClassification."""
    names = {
        "embeddings.token.": "bert.embeddings.word_embeddings.",
        "embeddings.position.": "bert.embeddings.position_embeddings.",
        "embeddings.segment.": "bert.embeddings.token_type_embeddings.",
        "embeddings.norm.": "bert.embeddings.LayerNorm.",
        r"layers\.(\d+)\.attention\.output\.": r"bert.encoder.layer.\1.attention.output.dense.",
        r"layers\.(\d+)\.attention\.(query|key|value)\.": r"bert.encoder.layer.\1.attention.self.\2.",
        r"layers\.(\d+)\.attention_norm\.": r"bert.encoder.layer.\1.attention.output.LayerNorm.",
        r"layers\.(\d+)\.feed_forward\.up\.": r"bert.encoder.layer.\1.intermediate.dense.",
        r"layers\.(\d+)\.feed_forward\.down\.": r"bert.encoder.layer.\1.output.dense.",
        r"layers\.(\d+)\.feed_forward_norm\.": r"bert.encoder.layer.\1.output.LayerNorm.",
        r"pooler\.": "bert.pooler.dense.",
        r"head\.": "classifier.",
    }
    split = _split(weights)
    if "embeddings.segment.weight" not in split:  # DistilBERT's has none; BERT adds one to every token
        split["embeddings.segment.weight"] = torch.zeros(1, split["embeddings.token.weight"].shape[1])
    return {
        next(re.sub(p, theirs, name) for p, theirs in names.items() if re.match(p, name)): tensor.contiguous()
        for name, tensor in split.items()
    }


def to_config(options: Mapping[str, Any], vocab_size: int, labels: list[str]) -> dict[str, Any]:
    """The config.json of BertForSequenceClassification for our Bert's options. Raises ValueError for what it has no name for."""
    activations = {ours: theirs for theirs, ours in _ACTIVATIONS.items() if theirs != "gelu_pytorch_tanh"}
    if options["activation"] not in activations:
        raise ValueError(f"model.activation {options['activation']} is not one of BERT's: {', '.join(activations)}")
    values = {theirs: options[ours] for theirs, ours in _BERT_OPTIONS.items()}
    values["hidden_act"] = activations[options["activation"]]
    values["type_vocab_size"] = max(1, options["type_vocab_size"])
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        **values,
        "vocab_size": vocab_size,
        "pad_token_id": 0,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _has_shifted_positions(kind: str) -> bool:
    return kind in ("roberta", "xlm-roberta", "camembert")


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each layer as one tensor, as attention.py has them."""
    joined = {name: tensor for name, tensor in weights.items() if name.split(".")[-2] not in _QKV}
    for name in weights:
        if name.split(".")[-2] == "query":
            parts = [weights.get(name.replace(".query.", f".{part}.")) for part in _QKV]
            if all(part is not None for part in parts):
                joined[name.replace(".query.", ".qkv.")] = torch.cat(parts)  # type: ignore[arg-type]
    return joined


def _split(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way round."""
    split: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if ".qkv." in name:
            split |= {name.replace(".qkv.", f".{part}."): t for part, t in zip(_QKV, tensor.chunk(3), strict=True)}
        else:
            split[name] = tensor
    return split
