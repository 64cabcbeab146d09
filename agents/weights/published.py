"""Published weights as the beginning of a run: `init_from` names a folder, a pip package or a hub name instead of a run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.tokenizers.pretrained import read_pretrained_tokenizer
from graphs.conversion.hugging_face import (
    architecture,
    from_hugging_face,
    in_their_form,
    our_names,
    pretraining_heads,
)
from graphs.models.masked_language_model import MaskedLanguageModel
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config.config import Config
from utils.errors import CheckpointError
from utils.files.hub import CONFIG, find_model, is_published
from utils.files.misfits import first_names, misfits
from utils.files.model_files import read_model_config, read_model_weights

logger = logging.getLogger("glassbox")
# Options that are not the weights' own.
FREE = (
    *("dropout", "attention_dropout", "classifier_dropout", "pooler_dropout", "word_dropout"),
    *("dropout_per_head", "checkpoint_activations", "compile_layers"),
)
TABLE = "embeddings.token.weight"
NEW = ("pooler.", "head.", "attention_pooling.")  # parts that a published model need not have
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")  # their steps are as long as the rate, whatever the gradient
HIGHEST_RATE = 5e-4  # BERT's authors took 2e-5 to 5e-5 (Devlin et al. 2019, appendix A.3), small models take up to 2e-4


def complete_from_published(config: Config) -> None:
    """Fill in what the published model of `init_from` decides: its sizes, its tokenizer. Raises ConfigError where given others."""
    name = config.get("init_from")
    if not isinstance(name, str) or not is_published(name):
        return
    folder = find_model(name)
    try:
        found = architecture(read_model_config(folder))
    except ValueError as error:
        raise config.error("init_from", f"init_from: {folder} {error}") from None
    config.setdefault("model", {"name": "bert"})
    model = config["model"]
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


def load_published(config: Config, model: TextClassifier | MaskedLanguageModel, labels: list[str]) -> None:
    """Put the published weights into every encoder, and those of its heads where the model has such ones, with the same labels."""
    folder = find_model(config.init_from)
    values, file = read_model_config(folder), read_model_weights(folder)
    own = dict[str, Tensor](model.encoders[0].state_dict())
    check_weights(file, values, own, folder)
    weights, unused = from_hugging_face(file, values)
    head = {part: weights.pop(f"head.{part}") for part in ("weight", "bias") if f"head.{part}" in weights}
    weights[TABLE] = rows_of_tokens(weights[TABLE], len(own[TABLE]), folder)
    for encoder in model.encoders:
        encoder.load_state_dict({part: weights[part] for part in own if part in weights}, strict=False)
    made = sorted({part.partition(".")[0] for part in own if part not in weights})
    _check_new_parts_learn(config, made)
    taken = set(own)
    if isinstance(model, MaskedLanguageModel):
        found: dict[str, Tensor] = {}
        heads = pretraining_heads(file, values["model_type"])
        made += load_heads(found, model, heads, len(own[TABLE]))
        model.load_state_dict(found, strict=False)
        unused = [name for name in unused if not pretraining_heads({name: file[name]}, values["model_type"])]
    elif head and config.init_head:
        _load_head(config, model, head, values, labels)
        taken |= {"head.weight", "head.bias"}
    else:
        made.append("head")
    names = our_names(file, values["model_type"])
    unused += [theirs for theirs, ours in names.items() if ours.startswith(NEW) and ours not in taken]
    _report(config, made, unused)


def load_heads(found: dict[str, Tensor], model: nn.Module, heads: dict[str, Tensor], vocab_size: int) -> list[str]:
    """Add the heads of pre-training that the model has to `found`; -> the names of those that are not published."""
    if "tokens.bias" in heads:
        heads["tokens.bias"] = heads["tokens.bias"][:vocab_size]
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoders.")}
    found |= {name: heads[name] for name in own if name in heads and heads[name].shape == own[name].shape}
    return [name for name in own if name not in found]


def _report(config: Config, made: list[str], unused: list[str]) -> None:
    """Say which parts are newly initialised, which tensors were not used, and where the optimizer's steps would undo the others."""
    if unused:
        logger.info("init_from: %s: not used: %s", config.init_from, first_names(unused))
    logger.info("init_from: weights of %s; newly initialised: %s", config.init_from, ", ".join(made) or "nothing")
    learns = "freeze" not in config or config.freeze.layers != "all" or config.freeze.unfreeze_every is not None
    if config.optimizer.name in ADAPTIVE and config.optimizer.lr > HIGHEST_RATE and learns:
        logger.warning(
            "warning: optimizer.lr %g is likely to destroy published weights; 2e-5 to 2e-4 are usual",
            config.optimizer.lr,
        )


def _check_new_parts_learn(config: Config, made: list[str]) -> None:
    """Raise ConfigError where a part of the encoder would stay the random numbers that it was made of."""
    if made and "freeze" in config and config.freeze.layers == "all":
        raise config.error(
            "freeze.layers",
            f"freeze.layers: all would keep the {made[0]}, which {config.init_from} does not have, as it is newly initialised; "
            f"write freeze.layers: {config.model.num_layers}, above which it learns, or model.pooling: mean",
        )


def check_weights(file: Mapping[str, Tensor], values: Mapping[str, Any], own: dict[str, Tensor], folder: Path) -> None:
    """Raise CheckpointError, in the file's own names, unless it holds an encoder of the sizes that config.json says."""
    names = our_names(file, values["model_type"])
    table = next((file[theirs] for theirs, ours in names.items() if ours == TABLE), None)
    size = values.get("vocab_size") or (len(table) if table is not None and table.dim() else 1)
    wanted = own | {TABLE: torch.empty(size, own[TABLE].shape[1], device="meta")}  # whatever the tokenizer's size
    wanted = {part: tensor for part, tensor in wanted.items() if part in names.values() or not part.startswith(NEW)}
    needed = in_their_form(wanted, values, file)
    given = {theirs: file[theirs] for theirs, ours in names.items() if theirs in needed or not ours.startswith(NEW)}
    if words := misfits(given, needed):
        raise CheckpointError(f"{folder}: its weights are not those of its config.json ({words})")


def rows_of_tokens(table: Tensor, num_tokens: int, folder: Path) -> Tensor:
    """The table without rows that no token has: some models pad it to a multiple of 64. Raises CheckpointError for too few rows."""
    if len(table) < num_tokens:
        raise CheckpointError(
            f"{folder}: its tokenizer has {num_tokens} tokens, and its weights have vectors for {len(table)} "
            "(word_embeddings.weight); put the tokenizer there that belongs to them"
        )
    if len(table) > num_tokens:
        logger.warning(
            "warning: %s: its tokenizer has %d tokens, and its weights have vectors for %d; the last %d are left out",
            *(folder, num_tokens, len(table), len(table) - num_tokens),
        )
    return table[:num_tokens]


def _load_head(
    config: Config, model: TextClassifier, head: dict[str, Tensor], values: Mapping[str, Any], labels: list[str]
) -> None:
    """The rows of the classifier in the order of our labels. Raises ConfigError where its labels are others."""
    theirs = _labels_of(values, _num_outputs(head, config.init_from), config.init_from)
    if not isinstance(model.head, FeedForward):
        raise config.error(
            "init_from",
            f"init_from: {config.init_from} has a classifier, and agent {config.agent} has none; write init_head: false",
        )
    layer = model.head.layers[-1]
    if config.model.pooling != "pooler":
        raise config.error(
            "model.pooling",
            f"model.pooling: {config.init_from} has a classifier that reads the pooler, got {config.model.pooling}; "
            "leave it out, or write init_head: false for a new classifier",
        )
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


def _num_outputs(head: Mapping[str, Tensor], name: str) -> int:
    """How many labels a classifier tells apart. Raises CheckpointError for what is no linear layer."""
    forms = {part: tensor.shape for part, tensor in head.items() if tensor.is_floating_point()}
    if forms.keys() != {"weight", "bias"} or len(forms["weight"]) != 2 or forms["bias"] != forms["weight"][:1]:
        raise CheckpointError(
            f"{find_model(name)}: its classifier has no weight (labels, hidden size) with a bias (labels) of floats; "
            "write init_head: false for a new one"
        )
    return len(head["weight"])


def _labels_of(values: Mapping[str, Any], count: int, name: str) -> list[str]:
    """The names of a classifier's outputs; Hugging Face calls them LABEL_0, LABEL_1, ... where nobody named them."""
    named = values.get("id2label") or {}
    if not isinstance(named, Mapping):
        raise CheckpointError(
            f"{find_model(name) / CONFIG}: id2label must be a mapping of numbers to labels, got {named!r:.80}; "
            "fix it, or write init_head: false for a new classifier"
        )
    return [str(named.get(str(i), f"LABEL_{i}")) for i in range(count)]
