"""What every run is checked for before any data is read: each part is built once, on the meta device, with placeholder sizes."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from agents.running.building import build_average, build_freezing, build_optimizer, build_tracker
from agents.running.text_data import TextArtifacts
from agents.watching.watch import TensorBoardSettings
from utils.config.config import Config
from utils.config.schema import Section, blamed_on, construct
from utils.distributed.fsdp import refuse_uncuttable
from utils.distributed.worker import DistributedSettings
from utils.errors import counted
from utils.machine.device import choose_device, missing_compiler
from utils.machine.memory import too_large
from utils.metrics.directions import direction_of
from utils.optimizers.building import OPTIMIZERS
from utils.optimizers.parameter_groups import LayerDecay
from utils.optimizers.schedules import SCHEDULERS
from utils.trackers import TRACKERS
from utils.training.freezing import Freezing
from utils.training.settings import TrainSettings
from utils.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from agents.task import Task

T = TypeVar("T", bound="Task")

SECTIONS = {  # of every config
    "optimizer": Section(OPTIMIZERS, shared=LayerDecay, default="Adam"),
    "scheduler": Section(SCHEDULERS, default="constant"),
    "freeze": Section(shared=Freezing, is_optional=True),
    "train": Section(
        shared=TrainSettings, free=("num_epochs", "num_steps", "patience", "save_every", "log_every", "keep")
    ),
    "average": Section(shared=WeightAverage, is_optional=True),
    "distributed": Section(shared=DistributedSettings, free=("strategy", "timeout")),
    "tensorboard": Section(
        shared=TensorBoardSettings, is_optional=True, free=("histograms", "graph", "profile", "projector")
    ),
    "tracker": Section(TRACKERS, is_optional=True, free=("name", "project")),
}


def check_run(agent_type: "type[T]", config: Config) -> "T":
    """Raise ConfigError for bad values; -> the agent with its model and loss on the meta device."""
    _check_training(config, agent_type)
    agent = agent_type(config, choose_device(config.device))
    agent.check_data()
    with torch.device("meta"):
        artifacts = agent.artifacts_type.placeholder(config)
        agent.model = agent.build_model(artifacts)
        _check_model(config, agent.model)
        agent.loss = agent.build_loss(artifacts)
        build_average(config, agent.model)
        build_optimizer(config, agent.model)
        build_freezing(config, agent.model)
    if config.distributed.strategy == "fsdp":
        with blamed_on(config, "distributed", config.distributed):
            refuse_uncuttable(agent.model, config.optimizer.name)
    return agent


def describe_plan(agent: "Task") -> str:
    """What is known of a run before its data is read, in words: its parameters and its length."""
    train = agent.config.train
    length = counted(train.num_steps or train.num_epochs, "step" if train.num_steps else "epoch")
    artifacts = agent.artifacts_type.placeholder(agent.config)
    if not isinstance(artifacts, TextArtifacts):
        return length

    def count(vocab_size: int, labels: list[str]) -> int:
        sized = replace(artifacts, tokenizer=SimpleNamespace(vocab_size=vocab_size), labels=labels)
        return sum(parameter.numel() for parameter in agent.build_model(sized).parameters())

    with torch.device("meta"):
        base = count(1000, ["a", "b"])
        token, label = count(1001, ["a", "b"]) - base, count(1000, ["a", "b", "c"]) - base
    sizes = f"{base - 1000 * token - 2 * label:,} parameters + {token:,} per vocabulary token"
    return f"{sizes} + {label:,} per label, {length}" if label else f"{sizes}, {length}"


def _check_training(config: Config, agent_type: "type[Task]") -> None:
    """The settings of the loop, and the metrics that they name."""
    train, schedule, known = config.train, config.scheduler, agent_type.known_metrics(config)
    with torch.device("meta"):
        construct(config, "train", TrainSettings, train)
        construct(config, "distributed", DistributedSettings, config.distributed)
        construct(config, "tensorboard", TensorBoardSettings, config.get("tensorboard", {}))
        construct(config, "scheduler", SCHEDULERS[schedule.name], schedule, total_steps=10**12)
    build_tracker(config)
    monitored = [] if train.monitor[1:] == "loss" else [("train.monitor", train.monitor[1:], ("loss", *known))]
    for key, name, names in [*monitored, *(("metrics", name, known) for name in config.metrics or ())]:
        if (known or key == "metrics") and name not in known:
            raise config.error(key, f"{key}: there is no metric {name!r}; known: {', '.join(names)}")
    sign = direction_of(train.monitor[1:])
    if sign is not None and train.monitor[0] != sign:
        better = f"{'more' if sign == '+' else 'less'} {train.monitor[1:]} is better; write {sign}{train.monitor[1:]}"
        raise config.error("train.monitor", f"train.monitor: {better}")


def check_has_valid(config: Config, splits: Sequence[str]) -> None:
    """Raise ConfigError where something waits for a validation, and there is nothing to validate on."""
    train, schedule = config.train, config.scheduler
    waiting = {"train.patience": train.patience, "scheduler.name": schedule.name == "reduce_on_plateau" or None}
    for (key, value), instead in zip(waiting.items(), ("null", "constant"), strict=True):
        if value is not None and "valid" not in splits:
            need = f"{key} needs a validation split, and data.split gives it no share; "
            raise config.error(key, f"{need}write {key}: {instead}, or data.split: [0.8, 0.1, 0.1]")


def _check_model(config: Config, model: nn.Module) -> None:
    """Reject a model too large for memory, compiled layers without a compiler, and texts longer than the model's positions."""
    if config.get("model", {}).get("compile_layers") and (missing := missing_compiler(choose_device(config.device))):
        raise config.error(
            "model.compile_layers",
            f"model.compile_layers: torch.compile needs {missing}; install one, or leave the option out",
        )
    head = getattr(model, "head", None)
    for key, part in {"model": model if head is None else getattr(model, "encoders", model), "head": head}.items():
        # A lower bound: the vocabulary size is not known yet.
        if part is not None and (reason := too_large(part)):
            raise config.error(key, f"{key}: {reason}")
    limit = getattr(next(iter(getattr(model, "encoders", ())), None), "max_length", None)
    asked = config.get("data", {}).get("max_length")
    if limit is not None and (asked is None or asked > limit):
        raise config.error(
            "data.max_length",
            f"data.max_length is {'null' if asked is None else asked}, and {config.model.name} has positions for {limit} tokens; "
            f"write data.max_length: {limit} or less, or a larger model.max_positions",
        )
