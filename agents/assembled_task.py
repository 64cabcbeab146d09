"""A task with all that its run needs around the model: what a start builds, restores and saves. The loop over it is base.py."""

import logging

from agents.running.building import build_average, build_freezing, build_optimizer, build_tracker
from agents.running.data import Artifacts
from agents.task import Task
from agents.watching.watch import TensorBoardSettings, Watch
from datasets.batches.loader import Loader
from utils.config.config import Config
from utils.config.schema import construct
from utils.machine.environment import environment_facts
from utils.machine.reproducibility import separate_seeds
from utils.machine.threads import ThreadWatch
from utils.optimizers.building import Optimizer
from utils.optimizers.schedules import SCHEDULERS, Schedule
from utils.runs.checkpoint import CheckpointStore
from utils.runs.checkpointer import Checkpointer
from utils.runs.experiment import Experiment
from utils.runs.run_log import RunLog
from utils.training.precision import Precision
from utils.training.run_state import RunState
from utils.training.settings import TrainSettings
from utils.training.train_meter import TrainMeter
from utils.training.update import Updater

logger = logging.getLogger("glassbox")


class AssembledTask(Task):
    """Owns the data, the model, the loss, the optimizer and the checkpoints of a run."""

    def prepare(self, experiment: Experiment) -> None:
        """Read the data and build the model, loss and optimizer of a run whose folder is claimed."""
        self.experiment, self.settings, self.state = experiment, TrainSettings(**self.config.train), RunState()
        self.log = RunLog(experiment.folder, is_on=self.worker.is_first, monitor=self.settings.metric)
        self.threads = ThreadWatch(is_on=self.device.type == "cpu" and self.worker.size == 1)
        self.data = self.read_data()
        self.artifacts = self.data.artifacts
        save_artifacts(experiment, self.artifacts)
        self.model = self.build_model(self.artifacts)
        self.load_initial_weights()
        self.model = self.worker.place(self.model, self.device, self.config.distributed.strategy)
        self.loss = self.build_loss(self.artifacts).to(self.device)
        self.optimizer = build_optimizer(self.config, self.model)

    def load_checkpoint(self) -> None:
        """Build what training needs, and resume from the newest undamaged checkpoint, or begin at step 0.

        Raises DistributedError where the processes do not have the same data or device.
        """
        self._build_training()
        self.worker.connect()
        self.worker.refuse_different("data", self.data.facts | {"device": self.device.type})
        self.checkpointer = self._checkpointer()
        separate_seeds(self.config.seed, self.worker.rank)
        self._start_logging()
        resume(self.checkpointer, self.state, self.settings, self.scheduler, self.optimizer)
        self.experiment.begin(self.config)
        is_validated = self.state.validated_step == self.state.step
        self.log.open_at(self.state.step, self.config.fixed(), is_validated=is_validated)

    def save_checkpoint(self, *, is_changed: bool = False) -> None:
        """Everything that an exact resume needs; the updates so far are known to be finite."""
        self.updater.check()
        self.log.flush()
        self.checkpointer.save(self.state.step, self.state.best_step, is_changed=is_changed)

    def _build_training(self) -> None:
        """What a step needs besides model, loss and optimizer."""
        self.scheduler = build_schedule(self.config, self.settings, self.data.loaders["train"])
        self.freezing = build_freezing(self.config, self.model)
        self.precision = Precision(self.settings.precision, self.device)
        average, total = build_average(self.config, self.model), self.scheduler.total_steps
        self.updater = Updater(self.model, self.optimizer, self.settings.max_grad_norm, self.precision, average)
        self.meter = TrainMeter(self.new_metrics(), self.worker)
        if average is not None and average.every > total:
            words = "warning: average.every %s is longer than the run of %s steps, which averages nothing"
            logger.warning(words, average.every, total)

    def _checkpointer(self) -> Checkpointer:
        facts = self.data.facts | environment_facts(self.device, self.worker.size)
        parts = {
            "run": self.state,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "precision": self.precision,
        }
        store, average = self.experiment.checkpoints(self.settings.keep), self.updater.average
        return Checkpointer(store, self.model, parts, facts, average, own={"meter": self.meter}, worker=self.worker)

    def _start_logging(self) -> None:
        shown = construct(self.config, "tensorboard", TensorBoardSettings, self.config.get("tensorboard", {}))
        self.watch = Watch(shown, self.settings, self.model, self.data, self.log, self.worker)
        if (tracker := build_tracker(self.config)) is not None:
            self.log.add_tracker(self.config.tracker.name, tracker)


def build_schedule(config: Config, settings: TrainSettings, loader: Loader) -> Schedule:
    """The schedule over all steps of the run; with train.batch_tokens the epochs differ in theirs."""
    total_steps = loader.total_steps(settings.num_epochs, settings.num_steps)
    part = SCHEDULERS[config.scheduler.name]
    return construct(config, "scheduler", part, config.scheduler, total_steps=total_steps)


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
