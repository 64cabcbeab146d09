"""Another run's weights as the beginning of a run, by encoder: also between tasks."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from agents.running.trained_run import TrainedRun, run_folder
from agents.weights.published import FREE, NEW, load_published
from graphs.models.text_classifier import TextClassifier
from utils.config.config import Config
from utils.files.hub import is_published
from utils.files.misfits import first_names
from utils.runs.saved import CONFIG, refuse_export, saved_config

logger = logging.getLogger("glassbox")
SEGMENT = "embeddings.segment.weight"
# The options of a Transformer that its weights depend on, as those of an encoder-decoder's encoder.
OF_ENCODER = (
    "hidden_size",
    "num_layers",
    "num_heads",
    "intermediate_size",
    "max_positions",
    "positions",
    "norm",
    "activation",
    "norm_eps",
)


def complete_from_run(config: Config) -> None:
    """Fill in the model's sizes and the tokenizer of the run that `init_from` names, where the config does not give them."""
    name = config.get("init_from")
    folder = run_folder(Path(name)) if isinstance(name, str) else None
    if folder is None or is_published(str(name)):
        return
    refuse_export(folder)
    if not (folder / CONFIG).is_file():
        return
    old = saved_config(folder)
    keys = ["model", "tokenizer", *(["target_tokenizer"] if config.get("agent") == old.get("agent") else [])]
    for key in keys:
        section = old.get(key)
        if not isinstance(section, Mapping):
            continue
        config.setdefault(key, {"name": section.get("name")})
        if isinstance(config[key], Mapping) and config[key].get("name") == section.get("name"):
            config[key] = _of_weights(section) | dict(config[key])
        elif isinstance(config[key], Mapping) and _is_encoder_of(section, config[key]):
            config[key] = {name: section[name] for name in OF_ENCODER if name in section} | dict(config[key])


def load_initial_weights(config: Config, model: nn.Module, labels: list[str]) -> None:
    """Start from the best weights of the run that `init_from` names, of any agent.

    All encoders must fit. Layers of the head are taken where they do; the last one only from a run of this agent on these labels.
    """
    if config.init_from is None:
        return
    if is_published(config.init_from):
        load_published(config, cast(TextClassifier, model), labels)
        return
    folder = Path(config.init_from)
    run = TrainedRun(folder)
    old = run.config
    for key in ("model", "tokenizer", "target_tokenizer"):
        if difference := _difference(old.get(key), config.get(key)):
            raise config.error(
                "init_from", f"init_from: {folder} has another {key} ({difference}), so its weights do not fit"
            )
    own = model.state_dict()
    old_labels, weights = list(run.artifacts.labels), _without_segments(run.weights(), own, config)
    last = [layer for layer in map(_layer, own) if layer.startswith("head.")][-1:]
    reason = "" if old_labels == labels else "its labels are others"
    reason = reason if old.agent == config.agent else f"it is a run of agent {old.agent}"
    misfits = {name for name in own if name not in weights or weights[name].shape != own[name].shape}
    new_layers = {_layer(name) for name in misfits if not name.startswith("encoders.")} | (
        set(last) if reason else set()
    )
    taken = {name: weights[name] for name in own if name not in misfits and _layer(name) not in new_layers}
    if unfit := [name for name in own if _is_needed(name) and name not in taken]:
        raise config.error("init_from", f"init_from: {folder} has no fitting weights for {first_names(unfit)}")
    model.load_state_dict(taken, strict=False)
    new, unused = (_layers(name for name in names if name not in taken) for names in (own, weights))
    new += f" (a new last layer, since {reason})" if reason and last else ""
    logger.info(
        "init_from: weights of %s: %s; newly initialised: %s; not used: %s", folder, _layers(taken), new, unused
    )


def _is_needed(name: str) -> bool:
    """Whether a parameter is one of an encoder that any run of it has; a pooler comes with the task."""
    rest = name.partition(".")[2].partition(".")[2]
    return name.startswith("encoders.") and not rest.startswith(NEW)


def _layers(names: Iterable[str]) -> str:
    """The encoders and layers that parameters belong to, in words."""
    return first_names(sorted(set(map(_layer, names)))) or "nothing"


def _layer(name: str) -> str:
    return ".".join(name.split(".")[: 3 if name.startswith("head.") else 2])


def _difference(theirs: Any, ours: Any) -> str:
    """In words, the options of the weights that two sections differ in; of different parts only the names."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping) and _is_encoder_of(theirs, ours):
        theirs, ours = ({name: each.get(name) for name in OF_ENCODER} for each in (theirs, ours))
    theirs, ours = _of_weights(theirs) or {}, _of_weights(ours) or {}
    names = [name for name in theirs | ours if theirs.get(name) != ours.get(name)]
    names = ["name"] if "name" in names else names
    return ", ".join(f"{name}: {theirs.get(name)} there, {ours.get(name)} here" for name in names)


def _is_encoder_of(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a run's model can be the encoder of an encoder-decoder (Rothe et al. 2020, https://arxiv.org/abs/1907.12461)."""
    has_norm = theirs.get("embedding_norm") or (theirs.get("embedding_norm") is None and theirs.get("norm") == "post")
    return (theirs.get("name"), ours.get("name")) == ("transformer", "encoder_decoder") and not has_norm


def _without_segments(weights: dict[str, Tensor], own: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """The weights for an encoder without segments: the embedding of the first one, which every token had, joins the tokens'."""
    found = dict(weights)
    for name in [name for name in weights if name.endswith(SEGMENT) and name not in own]:
        table = f"{name.removesuffix(SEGMENT)}embeddings.token.weight"
        scale = found[table].shape[1] ** 0.5 if config.model.get("positions") == "sinusoidal" else 1.0
        found[table] = found[table] + found.pop(name)[0] / scale
    return found


def _of_weights(options: Any) -> Any:
    """A section of the config without what may differ between runs of the same weights."""
    is_section = isinstance(options, Mapping)
    return {name: value for name, value in options.items() if name not in (*FREE, "pooling")} if is_section else options
