"""What a run needs around its model before its first step: its schedule, its checkpoints, and where it goes on."""

import logging
from typing import NamedTuple

import torch
from torch import nn

from agents.running.building import build_average, build_freezing, build_tracker
from agents.running.data import Artifacts, Data
from agents.watching.watch import TensorBoardSettings, Watch
from datasets.batches.loader import Loader
from utils.config.config import Config
from utils.config.schema import construct
from utils.machine.environment import environment_facts
from utils.machine.reproducibility import separate_seeds
from utils.metrics.base import Metrics
from utils.optimizers.building import Optimizer
from utils.optimizers.schedules import SCHEDULERS, Schedule
from utils.runs.checkpoint import CheckpointStore
from utils.runs.checkpointer import Checkpointer
from utils.runs.experiment import Experiment
from utils.runs.run_log import RunLog
from utils.training.freezing import Freezing
from utils.training.precision import Precision
from utils.training.run_state import RunState
from utils.training.settings import TrainSettings
from utils.training.train_meter import TrainMeter
from utils.training.update import Updater

logger = logging.getLogger("glassbox")


def build_schedule(config: Config, settings: TrainSettings, loader: Loader) -> Schedule:
    """The schedule over all steps of the run; with train.batch_tokens the epochs differ in theirs."""
    total_steps = loader.total_steps(settings.num_epochs, settings.num_steps)
    part = SCHEDULERS[config.scheduler.name]
    return construct(config, "scheduler", part, config.scheduler, total_steps=total_steps)


class Assembly(NamedTuple):
    """What a run needs around its model."""

    scheduler: Schedule
    freezing: Freezing | None
    precision: Precision
    updater: Updater
    meter: TrainMeter
    checkpointer: Checkpointer
    watch: Watch


def assemble(
    config: Config,
    settings: TrainSettings,
    state: RunState,
    data: Data,
    model: nn.Module,
    optimizer: Optimizer,
    metrics: Metrics,
    experiment: Experiment,
    device: torch.device,
    log: RunLog,
) -> Assembly:
    """Build it. Raises DistributedError where the processes do not have the same data or device."""
    worker = experiment.worker
    scheduler, freezing = build_schedule(config, settings, data.loaders["train"]), build_freezing(config, model)
    precision = Precision(settings.precision, device)
    updater = Updater(model, optimizer, settings.max_grad_norm, precision, build_average(config, model))
    meter = TrainMeter(metrics, worker)
    worker.connect()
    worker.refuse_different("data", data.facts | {"device": device.type})
    facts = data.facts | environment_facts(device, worker.size)
    parts = {"run": state, "optimizer": optimizer, "scheduler": scheduler, "precision": precision}
    store = experiment.checkpoints(settings.keep)
    checkpointer = Checkpointer(store, model, parts, facts, updater.average, own={"meter": meter}, worker=worker)
    separate_seeds(config.seed, worker.rank)
    shown = construct(config, "tensorboard", TensorBoardSettings, config.get("tensorboard", {}))
    watch = Watch(shown, settings, model, data, log, worker)
    if (tracker := build_tracker(config)) is not None:
        log.add_tracker(config.tracker.name, tracker)
    return Assembly(scheduler, freezing, precision, updater, meter, checkpointer, watch)


def save_artifacts(experiment: Experiment, artifacts: Artifacts) -> None:
    """Write them into the run's folder, unless its checkpoints belong to others: this start is refused, the run stays usable."""
    known = CheckpointStore(experiment.folder / "checkpoints").facts()
    if known is None or all(known[1].get(name) == found for name, (_, found) in artifacts.hashes.items()):
        for name, content in artifacts.files().items():
            experiment.write(name, content)


def resume(
    checkpointer: Checkpointer, state: RunState, settings: TrainSettings, schedule: Schedule, optimizer: Optimizer
) -> None:
    """Restore the newest undamaged checkpoint, if there is one, and say what is not as it was when the run stopped."""
    if not checkpointer.restore():
        return
    if state.best_step and (problem := checkpointer.problem(state.best_step)):
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
