"""The wiring of a run before its first step: its schedule, its checkpoints, and where it goes on."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from agents.parts import build_corpus
from datasets.batches import Loader
from utils.config import Config
from utils.distributed import DistributedSettings
from utils.environment import environment_facts
from utils.experiment import Experiment
from utils.optim import Optimizer, Updater
from utils.run_state import RunState
from utils.schedules import SCHEDULERS, Schedule
from utils.schema import construct
from utils.settings import TrainSettings
from utils.snapshot import Snapshot, Stateful
from utils.train_meter import TrainMeter

logger = logging.getLogger("glassbox")


def check_run(config: Config, known: Sequence[str]) -> None:
    """Refuse bad values of what every run has; `known`: the metrics that its agent computes. Raises ConfigError."""
    train, schedule = config.train, config.scheduler
    with torch.device("meta"):
        construct(config, "train", TrainSettings, train)
        construct(config, "distributed", DistributedSettings, config.distributed)
        construct(config, "scheduler", SCHEDULERS[schedule.name], schedule, total_steps=10**12)
    waiting = {"train.patience": train.patience, "scheduler.name": schedule.name == "reduce_on_plateau" or None}
    for (key, value), instead in zip(waiting.items(), ("null", "constant"), strict=True):
        if value is not None and "valid" not in build_corpus(config).splits:
            need = f"{key} needs a validation split, and data.split gives it no share; "
            raise config.error(key, f"{need}write {key}: {instead}, or data.split: [0.8, 0.1, 0.1]")
    monitored = [] if train.monitor[1:] == "loss" else [("train.monitor", train.monitor[1:], ("loss", *known))]
    for key, name, names in [*monitored, *(("metrics", name, known) for name in config.metrics or ())]:
        if (known or key == "metrics") and name not in known:
            raise config.error(key, f"{key}: there is no metric {name!r}; known: {', '.join(names)}")


def build_schedule(config: Config, settings: TrainSettings, loader: Loader) -> Schedule:
    """The schedule over all steps of the run; with train.batch_tokens the epochs differ in theirs."""
    total_steps = settings.num_steps or sum(loader.num_steps(epoch) for epoch in range(settings.num_epochs))
    part = SCHEDULERS[config.scheduler.name]
    return construct(config, "scheduler", part, config.scheduler, total_steps=total_steps)


def build_snapshot(
    experiment: Experiment,
    keep: int,
    device: torch.device,
    data_facts: dict[str, Any],
    model: nn.Module,
    parts: Mapping[str, Stateful],
    updater: Updater,
    meter: TrainMeter,
) -> Snapshot:
    """What saves and restores a run. Raises DistributedError where the ranks do not have the same data or device."""
    worker = experiment.worker
    worker.connect()
    worker.refuse_different("data", data_facts | {"device": device.type})
    facts = data_facts | environment_facts(device, worker.size)
    store = experiment.checkpoints(keep)
    parts = {**parts, "precision": updater.precision}
    return Snapshot(store, model, parts, facts, updater.average, own={"meter": meter}, worker=worker)


def resume(
    snapshot: Snapshot, state: RunState, settings: TrainSettings, schedule: Schedule, optimizer: Optimizer
) -> None:
    """Restore the newest undamaged checkpoint, if there is one, and say what is not as it was when the run stopped."""
    if not snapshot.restore():
        return
    if state.best_step and (problem := snapshot.problem(state.best_step)):
        state.forget_best()
        logger.warning(
            "warning: %s, and it was the best; the best is chosen from here on (--fresh starts over)", problem
        )
    if settings.is_stopped_early(state):
        logger.info(
            "train.patience %s has ended this run at step %d; a higher train.patience, or null, resumes it",
            *(settings.patience, state.step),
        )
    elif not settings.is_done(state):
        logger.info("resuming from step %d (epoch %d)", state.step, state.epoch + 1)
        _report_jump(state.step, schedule, optimizer)


def _report_jump(step: int, schedule: Schedule, optimizer: Optimizer) -> None:
    """Say how the learning rate changes where the schedule is another one than that of the last step, as after train.num_epochs."""
    group = max(optimizer.param_groups, key=lambda group: group["initial_lr"])
    last, next_ = group["lr"], group["initial_lr"] * schedule.factor(step)
    if schedule.has_length and abs(last - group["initial_lr"] * schedule.factor(step - 1)) > 1e-9 * group["initial_lr"]:
        logger.info(
            "the schedule is stretched to %d steps: the learning rate was %.6g at step %d and is %.6g now",
            *(schedule.total_steps, last, step, next_),
        )
