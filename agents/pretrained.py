"""Published weights as the beginning of a run: `init_from` names a folder, a pip package or a hub name instead of a run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datasets.pretrained_tokenizer import read_pretrained_tokenizer
from graphs.models.bert import Bert
from graphs.models.pretrained import architecture, from_hugging_face
from graphs.models.text_classifier import TextClassifier
from utils.checkpoint import first_names, misfits
from utils.config import Config
from utils.errors import CheckpointError
from utils.hub import find_model, is_published
from utils.model_files import read_model_config, read_model_weights

logger = logging.getLogger("glassbox")
FREE = ("dropout", "attention_dropout")  # options that are not the weights' own
NEW = ("pooler.", "head.", "attention_pooling.")  # parts that a published model need not have
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")  # their steps are as long as the rate, whatever the gradient
HIGHEST_RATE = 5e-4  # BERT's authors took 2e-5 to 5e-5 (Devlin et al. 2019, appendix A.3), small models take up to 2e-4


def complete_from_published(config: Config) -> None:
    """Fill in what the published model of `init_from` decides: its sizes, its tokenizer. Raises ConfigError where given others."""
    name = config.get("init_from")
    if not isinstance(name, str) or not is_published(name):
        return
    found = _architecture(config, name)
    model = config.setdefault("model", {"name": "bert"})
    if not isinstance(model, Mapping) or model.get("name") != "bert":
        raise config.error("model", f"model: the weights of {name} are a BERT's; write model: {{name: bert}}")
    for option, value in found.items():
        if option in FREE:
            model.setdefault(option, value)  # type: ignore[attr-defined]
        elif model.setdefault(option, value) != value:  # type: ignore[attr-defined]
            raise config.error(
                f"model.{option}",
                f"model.{option} is {model[option]}, and the weights of {name} have {value}; leave it out, or init_from",
            )
    tokenizer = config.setdefault("tokenizer", {"name": "pretrained"})
    if not isinstance(tokenizer, Mapping) or tokenizer.get("name") != "pretrained":
        raise config.error("tokenizer", f"tokenizer: {name} comes with its own; leave the section out")


def published_tokenizer(config: Config) -> Any:
    """The tokenizer of the published model that `init_from` names. Raises CheckpointError."""
    try:
        return read_pretrained_tokenizer(find_model(config.init_from))
    except ValueError as error:
        raise CheckpointError(f"init_from: {error}") from None


def load_published(config: Config, model: TextClassifier, labels: list[str]) -> None:
    """Put the published weights into every encoder, and those of its classifier into the head where both have the same labels."""
    name, folder = config.init_from, find_model(config.init_from)
    values = read_model_config(folder)
    weights, unused = from_hugging_face(read_model_weights(folder), values["model_type"])
    head = {part.removeprefix("head."): weights.pop(part) for part in ("head.weight", "head.bias") if part in weights}
    made = []
    for encoder in model.encoders:
        made = _load_encoder(config, encoder, weights, folder)
    if head and config.init_head:
        _load_head(config, model, head, values, labels)
    else:
        made.append("head")
    if unused:
        logger.info("init_from: %s: not used: %s", name, first_names(unused))
    logger.info("init_from: weights of %s; newly made: %s", name, ", ".join(made) or "nothing")
    if config.optimizer.name in ADAPTIVE and config.optimizer.lr > HIGHEST_RATE and "freeze" not in config:
        logger.warning(
            "warning: optimizer.lr %g is likely to destroy published weights; 2e-5 to 2e-4 are usual",
            config.optimizer.lr,
        )


def _architecture(config: Config, name: str) -> dict[str, Any]:
    folder = find_model(name)
    try:
        return architecture(read_model_config(folder))
    except ValueError as error:
        raise config.error("init_from", f"init_from: {folder} {error}") from None


def _load_encoder(config: Config, encoder: Any, weights: dict[str, Tensor], folder: Path) -> list[str]:
    """-> the parts that the weights do not have."""
    assert isinstance(encoder, Bert)
    own, table = encoder.state_dict(), weights.get("embeddings.token.weight")
    if table is not None:
        size = len(own["embeddings.token.weight"])
        if len(table) < size:
            raise CheckpointError(
                f"{folder}: its tokenizer has {size} tokens, and its weights have vectors for {len(table)} "
                "(embeddings.token.weight); put the tokenizer there that belongs to them"
            )
        weights = weights | {"embeddings.token.weight": table[:size]}  # the others are rows that no token has
    given = {part: tensor for part, tensor in weights.items() if part in own or not part.startswith(NEW)}
    needed = {part: tensor for part, tensor in own.items() if part in weights or not part.startswith(NEW)}
    if words := misfits(given, needed):
        raise CheckpointError(f"{folder}: its weights are not those of its config.json ({words})")
    encoder.load_state_dict({part: tensor for part, tensor in weights.items() if part in own}, strict=False)
    return sorted({part.partition(".")[0] for part in own if part not in weights})


def _load_head(
    config: Config, model: TextClassifier, head: dict[str, Tensor], values: Mapping[str, Any], labels: list[str]
) -> None:
    """The rows of the classifier in the order of our labels. Raises ConfigError where its labels are others."""
    theirs = _labels_of(values, len(head["weight"]))
    layer = model.head.layers[-1]
    if sorted(theirs) != sorted(labels):
        raise config.error(
            "init_from",
            f"init_from: {config.init_from} has a classifier of the labels {first_names(theirs)}, and the data has "
            f"{first_names(labels)}; "
            "write init_head: false for a new one",
        )
    assert isinstance(layer, torch.nn.Linear)
    if len(model.head.layers) > 1 or layer.weight.shape != head["weight"].shape:
        raise config.error(
            "init_from",
            f"init_from: {config.init_from} has a classifier of one layer on {head['weight'].shape[1]} values; write "
            "head: {hidden_sizes: []} and one encoder, or init_head: false for a new one",
        )
    order = torch.tensor([theirs.index(label) for label in labels])
    layer.load_state_dict({name: tensor[order] for name, tensor in head.items()})


def _labels_of(values: Mapping[str, Any], count: int) -> list[str]:
    """The names of a classifier's outputs; Hugging Face calls them LABEL_0, LABEL_1, ... where nobody named them."""
    named = values.get("id2label") or {}
    return [str(named.get(str(i), f"LABEL_{i}")) for i in range(count)]
