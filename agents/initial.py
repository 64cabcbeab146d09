"""What a model begins with besides random numbers: pre-trained word vectors, or another run's weights."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.pretrained import FREE, load_published
from agents.text_data import saved_tokenizer
from datasets.labels import labels_hash
from datasets.store import tokenizer_hash
from datasets.vectors import WordVectors
from graphs.layers.embedding import Embedding
from graphs.models.text_classifier import TextClassifier
from utils.checkpoint import CheckpointStore, first_names, load_weights, read_manifest, refuse_other
from utils.config import Config
from utils.errors import CheckpointError, ConfigError
from utils.experiment import CONFIG, LABELS, REPORT, TOKENIZER, saved_config, saved_labels
from utils.hub import is_published
from utils.schema import check_config, construct, lookup
from utils.settings import RunSettings

logger = logging.getLogger("glassbox")


def open_run(folder: Path) -> Config:
    """The config of a trained run, with the defaults of options that its version did not have. Raises CheckpointError."""
    from agents import AGENTS  # which imports this module

    config = Config(saved_config(folder), folder / CONFIG, {})
    config.setdefault("agent", "classification")  # as of runs before there were others
    try:
        agent = lookup(AGENTS, config.agent, config, "agent")
        check_config(config, agent.sections, RunSettings)
    except ConfigError as error:
        raise CheckpointError(f"{error}; the run is of another version") from None
    return config


def load_vectors(config: Config, model: TextClassifier, tokenizer: object, *, is_resumed: bool = False) -> None:
    """Put the vectors of the config's section `vectors` into every encoder's table, and say how many words were found.

    A resumed run has them in its checkpoint, and needs the file no more.
    """
    if "vectors" not in config:
        return
    tables = [
        table for encoder in model.encoders if isinstance(table := getattr(encoder, "embedding", None), Embedding)
    ]
    ids = getattr(tokenizer, "ids", None)
    if not tables or ids is None:
        raise config.error(
            "vectors",
            f"vectors need a model with a word table and tokenizer word; got {config.model.name}, {config.tokenizer.name}",
        )
    source: WordVectors = construct(config, "vectors", WordVectors, config.vectors)
    if is_resumed:
        for table in tables:
            table.weight.requires_grad_(not source.freeze)
        return
    rows, vectors = source.read(ids, tables[0].embedding_dim)
    for table in tables:
        table.set_vectors(torch.from_numpy(rows), torch.from_numpy(vectors), freeze=source.freeze)
    logger.info(
        "%s: %.1f%% of the vocabulary found (%s of %s words)",
        source.path,
        100 * len(rows) / (len(ids) - 2),
        len(rows),
        len(ids) - 2,
    )


def load_initial_weights(config: Config, model: TextClassifier, labels: list[str]) -> None:
    """Start from the best weights of the run that `init_from` names, of any agent.

    All encoders must fit. Layers of the head are taken where they do; the last one only from a run of this agent on these labels.
    """
    if config.init_from is None:
        return
    if is_published(config.init_from):
        load_published(config, model, labels)
        return
    folder = Path(config.init_from)
    old = open_run(folder)
    for key in ("model", "tokenizer"):
        if _of_weights(old.get(key)) != _of_weights(config[key]):
            raise config.error(
                "init_from", f"init_from: {folder} has another {key} ({old.get(key)}), so its weights do not fit"
            )
    old_labels = saved_labels(folder)
    weights, _ = best_weights(folder, saved_tokenizer(folder), old_labels)
    own, last = model.state_dict(), f"head.layers.{len(model.head.layers) - 1}"
    reason = "" if old_labels == labels else "its labels are others"
    reason = reason if old.agent == config.agent else f"it is a run of agent {old.agent}"
    misfits = {name for name in own if name not in weights or weights[name].shape != own[name].shape}
    new_layers = {_layer(name) for name in misfits if name.startswith("head.")} | ({last} if reason else set())
    taken = {name: weights[name] for name in own if name not in misfits and _layer(name) not in new_layers}
    if unfit := [name for name in own if name.startswith("encoders.") and name not in taken]:
        raise config.error("init_from", f"init_from: {folder} has no fitting weights for {first_names(unfit)}")
    model.load_state_dict(taken, strict=False)
    new, unused = (_layers(name for name in names if name not in taken) for names in (own, weights))
    new += f" (a new last layer, since {reason})" if reason else ""
    logger.info(
        "init_from: weights of %s: %s; newly initialised: %s; not used: %s", folder, _layers(taken), new, unused
    )


def _layers(names: Iterable[str]) -> str:
    """The encoders and layers that parameters belong to, in words."""
    return first_names(sorted(set(map(_layer, names)))) or "nothing"


def _layer(name: str) -> str:
    return ".".join(name.split(".")[: 3 if name.startswith("head.") else 2])


def _of_weights(options: Any) -> Any:
    """A section of the config without what may differ between runs of the same weights."""
    is_section = isinstance(options, Mapping)
    return {name: value for name, value in options.items() if name not in FREE} if is_section else options


def best_checkpoint(folder: Path) -> Path:
    """The folder of a run's best checkpoint. Raises CheckpointError where it has none yet."""
    store = CheckpointStore(folder / "checkpoints")
    manifest = store.latest()
    for warning in store.warnings:
        logger.warning("warning: %s", warning)
    if manifest is None:
        raise CheckpointError(f"{folder}: has no checkpoint yet; train it first: python main.py CONFIG")
    return folder / "checkpoints" / f"step-{manifest['best_step'] or manifest['step']}"


def best_weights(folder: Path, tokenizer: Any, labels: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The best weights of a run, and the facts of their checkpoint. Raises CheckpointError unless they belong to this tokenizer and
    these labels, order included: with others they would give answers, and wrong ones."""
    checkpoint = best_checkpoint(folder)
    try:
        facts: dict[str, Any] = read_manifest(checkpoint)["facts"]
        weights = load_weights(checkpoint)
    except CheckpointError as error:
        hint = f"without {folder / REPORT} the command that trained the run resumes it, with the best of what is left"
        raise CheckpointError(f"{error}; {hint}") from None
    refuse_other(folder / TOKENIZER, "vocabulary", tokenizer_hash(tokenizer), facts, checkpoint)
    refuse_other(folder / LABELS, "labels", labels_hash(labels), facts, checkpoint)
    return weights, facts
