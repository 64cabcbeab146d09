"""Conversion of published weights: tensor names and options of Hugging Face's BERT, DistilBERT and RoBERTa, and ours.

Their files are a dictionary of tensors by name and a config.json. Pure functions convert between those and models/bert.py;
utils/files/model_files.py reads and writes the files.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from graphs.conversion.tensor_names import BERT_HEADS, BERT_NAMES, HEADS, NAMES, QKV

# config.json -> our options. RoBERTa has BERT's names.
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
_OPTIONS = {"bert": _BERT_OPTIONS, "roberta": _BERT_OPTIONS, "distilbert": _DISTILBERT_OPTIONS}
# Theirs -> ours; if several map to one, the first is exported.
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "gelu_new": "gelu_tanh"}
_ACTIVATIONS |= {"swish": "silu", "gelu_python": "gelu", "gelu_fast": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
# The dropout before the classifier, and its default if config.json has none; None: that of the hidden states.
_CLASSIFIER_DROPOUT = {
    "bert": ("classifier_dropout", None),
    "roberta": ("classifier_dropout", None),
    "distilbert": ("seq_classif_dropout", 0.2),
}
_LARGEST = 2**20  # maximum of a size, more than any published model has


def architecture(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of our Bert from a config.json. Raises ValueError for another architecture or an invalid value."""
    kind = values.get("model_type")
    if kind is None:  # as in BERT's first files
        raise ValueError('has no model_type; if it is a BERT, add "model_type": "bert" to its config.json')
    if not isinstance(kind, str) or kind not in _OPTIONS:
        raise ValueError(f"is a model of type {_shown(kind)}; known: {', '.join(_OPTIONS)}")
    if values.get("position_embedding_type", "absolute") != "absolute" or values.get("is_decoder"):
        raise ValueError("has relative positions or is a decoder, which is not supported")
    if kind != "distilbert":
        values = {"layer_norm_eps": 1e-12, **values}
    if missing := [name for name in _OPTIONS[kind] if name not in values]:
        raise ValueError(f"lacks {', '.join(missing)}")
    dropout_name, default = _CLASSIFIER_DROPOUT[kind]
    also = {"vocab_size": "vocab_size", "pad_token_id": "pad_token_id", dropout_name: "dropout"}
    for name, ours in (_OPTIONS[kind] | {name: also[name] for name in also if values.get(name) is not None}).items():
        _check_value(name, ours, values[name])
    options = {ours: values[name] for name, ours in _OPTIONS[kind].items()}
    options["classifier_dropout"] = values.get(dropout_name, default)
    if kind == "distilbert":
        options |= {"type_vocab_size": 0, "norm_eps": 1e-12}
    if kind == "roberta":  # its tokenizers have no second segment, its classifier also drops before the dense layer
        options["type_vocab_size"] = min(1, options["type_vocab_size"])
        options["pooler_dropout"] = options["dropout" if values.get(dropout_name) is None else "classifier_dropout"]
    options["activation"] = _ACTIVATIONS[options["activation"]]
    options["max_positions"] -= (first := _first_position(values))
    if options["max_positions"] < 1:
        raise ValueError(
            f"has max_position_embeddings {values['max_position_embeddings']}, and a text's positions begin at {first}"
        )
    return options


def our_names(names: Iterable[str], kind: str) -> dict[str, str]:
    """Tensor names of a published model -> ours, query, key and value still separate; without those that have no counterpart."""
    names, table = list(names), dict(NAMES[kind])
    found: dict[str, str] = {}
    if "classifier.dense." in table and any("classifier.dense." in name for name in names):
        del table["pooler.dense."]  # some files still hold the pooler, which RoBERTa's classifier does not read
    for name in names:
        ours = _renamed(re.sub(r"^(bert|roberta|distilbert)\.", "", _modern(name)), table)
        if ours is not None and ours not in found.values():
            found[name] = ours
    return found


def from_hugging_face(weights: Mapping[str, Tensor], values: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a published model, and its config.json -> ({our name: tensor}, the names of unused tensors).

    `head.weight` and `head.bias` among them are those of BERT's or RoBERTa's classifier; DistilBERT's is not imported.
    """
    names = our_names(weights, values["model_type"])
    found = {ours: weights[theirs] for theirs, ours in names.items()}
    if "embeddings.position.weight" in found:
        found["embeddings.position.weight"] = found["embeddings.position.weight"][_first_position(values) :]
    if "embeddings.segment.weight" in found and values["model_type"] == "roberta":
        found["embeddings.segment.weight"] = found["embeddings.segment.weight"][:1]
    return _joined(found), [name for name in weights if name not in names and not name.endswith("position_ids")]


def pretraining_heads(weights: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """{our name: tensor} of the heads of pre-training in a published model's file; empty where it has none."""
    renamed = {_renamed(_modern(name), HEADS[kind]): tensor for name, tensor in weights.items()}
    return {ours: tensor for ours, tensor in renamed.items() if ours is not None}


def in_their_form(own: Mapping[str, Tensor], values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Tensor]:
    """Our Bert's tensors in a published model's format: the names of its file, or else of its kind, and all positions."""
    in_file = {ours: theirs for theirs, ours in our_names(names, values["model_type"]).items()}
    of_kind = {ours: theirs for theirs, ours in NAMES[values["model_type"]].items()}
    split = _split(own)
    if "embeddings.position.weight" in split:
        unused_rows = (0, 0, _first_position(values), 0)
        split["embeddings.position.weight"] = functional.pad(split["embeddings.position.weight"], unused_rows)
    if "embeddings.segment.weight" in split and values["model_type"] == "roberta":
        split["embeddings.segment.weight"] = split["embeddings.segment.weight"][:1].expand(
            values["type_vocab_size"], -1
        )
    return {in_file.get(name) or _renamed(name, of_kind) or name: tensor for name, tensor in split.items()}


def to_hugging_face(weights: Mapping[str, Tensor], values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our Bert's tensors (`head.` those of the classifier, `tokens.` and `pairs.` of pre-training) -> the names of transformers.

    values: the config.json, which names the class. A BERT always has at least two segments: its tokenizers give the second text
    of a pair segment 1. Without segments (DistilBERT) both are zero; with one (RoBERTa) both equal it, as every token has that
    segment here.
    """
    if (kind := values["model_type"]) != "bert":
        named = in_their_form(weights, values, ()).items()
        return {name if "classifier." in name else f"{kind}.{name}": tensor.contiguous() for name, tensor in named}
    names = {
        ours: theirs if theirs.startswith("classifier.") else f"bert.{theirs}" for theirs, ours in BERT_NAMES.items()
    } | {ours: theirs for theirs, ours in BERT_HEADS.items()}
    split = _split(weights)
    segments = split.get("embeddings.segment.weight", torch.zeros(1, split["embeddings.token.weight"].shape[1]))
    split["embeddings.segment.weight"] = segments.expand(2, -1) if len(segments) == 1 else segments
    return {_renamed(name, names) or name: tensor.contiguous() for name, tensor in split.items()}


def to_config(
    options: Mapping[str, Any],
    vocab_size: int,
    labels: list[str],
    architecture: str = "BertForSequenceClassification",
    pad_id: int = 0,
) -> dict[str, Any]:
    """The config.json of a class of transformers for our Bert's options. Raises ValueError for another activation."""
    kind = architecture.partition("For")[0].lower()
    ours = dict(options) | {"activation": to_activation(options["activation"])}
    if kind == "bert":
        ours["type_vocab_size"] = max(2, options["type_vocab_size"])
    values = {theirs: ours[name] for theirs, name in _OPTIONS[kind].items()}
    own = options.get("classifier_dropout")
    values[_CLASSIFIER_DROPOUT[kind][0]] = options["dropout"] if own is None else own
    values |= {"architectures": [architecture], "model_type": kind, "vocab_size": vocab_size, "pad_token_id": pad_id}
    values["max_position_embeddings"] += _first_position(values)
    if labels:
        values["id2label"] = {str(i): label for i, label in enumerate(labels)}
        values["label2id"] = {label: i for i, label in enumerate(labels)}
    return values


def to_activation(name: str) -> str:
    """Our name of an activation -> that of transformers. Raises ValueError for one that is not there."""
    activations = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    if name not in activations:
        raise ValueError(f"needs model.activation {', '.join(sorted(activations))}, this run has {name}")
    return activations[name]


def _modern(name: str) -> str:
    """A tensor's name without the words of TensorFlow that the first files have."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _first_position(values: Mapping[str, Any]) -> int:
    """The row of the first token's position: RoBERTa's positions begin after the padding id, and no token uses the rows before."""
    if values["model_type"] in ("bert", "distilbert"):
        return 0
    padding = values.get("pad_token_id")
    return 1 + (1 if padding is None else int(padding))


def _check_value(name: str, ours: str, value: Any) -> None:
    """Raise ValueError for a value of config.json that is not of the type or in the range of our option."""
    if ours == "activation":
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise ValueError(f"has the activation {_shown(value)}; known: {', '.join(_ACTIVATIONS)}")
    elif ours in ("dropout", "attention_dropout", "norm_eps"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError(f"has {name} {_shown(value)}; it must be a number from 0 to 1")
    else:
        least = 0 if ours in ("type_vocab_size", "pad_token_id") else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
            raise ValueError(f"has {name} {_shown(value)}; it must be a whole number from {least} to {_LARGEST:,}")


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _renamed(name: str, table: Mapping[str, str]) -> str | None:
    """Rename a tensor by a table of prefixes; None if none matches."""
    number = re.search(r"(?<=\.)\d+(?=\.)", name)  # of the layer
    general = name if number is None else name[: number.start()] + "#" + name[number.end() :]
    for old, new in table.items():
        if general.startswith(old):
            return (new + general.removeprefix(old)).replace("#", number[0] if number else "#")
    return None


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each layer as one tensor, as in layers/attention.py."""
    joined = {name: tensor for name, tensor in weights.items() if name.split(".")[-2] not in QKV}
    for name in weights:
        if name.split(".")[-2] == "query":
            parts = [weights.get(name.replace(".query.", f".{part}.")) for part in QKV]
            if all(part is not None for part in parts):
                joined[name.replace(".query.", ".qkv.")] = torch.cat(parts)  # type: ignore[arg-type]
    return joined


def _split(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_joined`."""
    split: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if ".qkv." in name:
            split |= {name.replace(".qkv.", f".{part}."): t for part, t in zip(QKV, tensor.chunk(3), strict=True)}
        else:
            split[name] = tensor
    return split
