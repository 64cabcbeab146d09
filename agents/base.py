"""The life of every run: build -> (resume) -> train -> validate -> test on the best checkpoint -> report.

This file holds the loop and only the loop. A task's file says how a batch becomes a loss (`compute_loss`) and what is counted
(`new_metrics`), and builds its data, model, loss and optimizer in `__init__`.
"""

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agents.assembly import build_schedule, build_snapshot, check_run, resume
from agents.parts import build_average, build_freezing
from agents.text_data import TextData
from datasets.batches import Batch, Loader
from utils import signals
from utils.config import Config
from utils.distributed import DistributedSettings
from utils.errors import counted
from utils.experiment import Experiment
from utils.freezing import Freezing
from utils.metrics import LossMeter, Metrics
from utils.optim import OPTIMIZERS, Optimizer, Updater
from utils.parameter_groups import LayerDecay
from utils.precision import Precision
from utils.run_log import RunLog, StepBar
from utils.run_report import final_report
from utils.run_state import RunState
from utils.schedules import SCHEDULERS, Schedule
from utils.schema import Section
from utils.seed import separate_seeds
from utils.settings import TrainSettings
from utils.snapshot import Snapshot
from utils.threads import ThreadWatch
from utils.train_meter import TrainMeter
from utils.validation import describe, judge
from utils.weight_average import WeightAverage

logger = logging.getLogger("glassbox")


class BaseAgent:
    """A run: owns the loaders, the model, the loss and the optimizer, and takes them through the loop."""

    sections: ClassVar[dict[str, Section]] = {
        "optimizer": Section(OPTIMIZERS, shared=LayerDecay, default="Adam"),
        "scheduler": Section(SCHEDULERS, default="constant"),
        "freeze": Section(shared=Freezing, is_optional=True),
        "train": Section(shared=TrainSettings),
        "average": Section(shared=WeightAverage, is_optional=True),
        "distributed": Section(shared=DistributedSettings),
    }
    monitor: ClassVar[str] = "-loss"  # the default of train.monitor
    metrics: ClassVar[Sequence[str]] = ()  # what `new_metrics` computes: names that train.monitor may have besides loss
    data: TextData  # its loaders by split, what it read, and the hashes that a checkpoint belongs to
    model: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    meter: TrainMeter
    updater: Updater
    freezing: Freezing | None
    scheduler: Schedule
    precision: Precision
    snapshot: Snapshot

    def __init__(self, config: Config, experiment: Experiment) -> None:
        """`config` is checked and complete, `experiment` the claimed folder. Data, model, loss and optimizer: the subclass."""
        self.config, self.experiment, self.worker = config, experiment, experiment.worker
        self.settings = TrainSettings(**config.train)
        self.device = self.worker.choose_device(config.device)
        self.log = RunLog(experiment.folder, is_on=self.worker.is_first)
        self.state = RunState()
        self.threads = ThreadWatch(is_on=self.device.type == "cpu" and self.worker.size == 1)

    @classmethod
    def complete(cls, config: Config) -> None:
        """Fill in what other parts of a config decide, before it is checked."""

    @classmethod
    def check(cls, config: Config) -> None:
        """Refuse bad values before any data is read: build every part once, on the meta device, with placeholder sizes."""
        check_run(config, cls.known_metrics(config))

    @classmethod
    def known_metrics(cls, config: Config) -> Sequence[str]:
        """The names that `metrics` and train.monitor may have; with none, only the first validation shows them."""
        return cls.metrics

    # What a task says; the last three only where it has more than one loss term, or something to write.

    def compute_loss(self, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        """({loss term: its sum over the counted labels}, outputs) of a batch on the device, in float32; outputs of any form."""
        raise NotImplementedError

    def new_metrics(self) -> Metrics:
        """Empty counts of outputs against labels."""
        raise NotImplementedError

    def count_labels(self, batch: Batch) -> dict[str, float]:
        """What the sum of each loss term is divided by; of a batch on the host."""
        return {"loss": self.loss.count(batch.labels)}  # type: ignore[operator]

    def place(self, model: nn.Module) -> nn.Module:
        """The model where it is trained, before an optimizer takes its weights."""
        return self.worker.place(model, self.device, self.config.distributed.strategy)

    def predictions(self, batch: Batch, outputs: Any) -> list[Any]:
        """What was predicted for each text of a batch: small plain values, one a row of it; none by default."""
        return []

    def write_views(self, split: str, lines: Sequence[Any]) -> None:
        """Write the `predictions` of a split, in the order of its rows; called on rank 0."""
        self.experiment.write_lines("predictions.jsonl", lines)

    # The life of a run.

    def run(self) -> dict[str, Any]:
        """Train from where the run stands to its end; -> the report. A finished run only gives its report."""
        try:
            if (report := self.experiment.report) is not None:
                return report
            self.load_checkpoint()
            with signals.graceful():
                self.train()
            return self.finalize()
        finally:
            self.log.close()
            self.experiment.close()

    def train(self) -> None:
        """Epoch after epoch until the run is done."""
        self.finish_step()  # what was still due when the run was stopped
        while not self.settings.is_done(self.state):
            self.train_one_epoch()
        self.state.is_stopped_early = self.settings.is_stopped_early(self.state)

    def train_one_epoch(self) -> None:
        """The rest of the epoch under way, or until the run is done."""
        loader, epoch = self.data.loaders["train"], self.state.epoch
        if self.freezing is not None:
            self.freezing.apply(epoch)
        self.network = self.worker.network(self.compute_loss, self.model)  # of the parameters that learn in this epoch
        num_steps = loader.num_steps(epoch)
        with StepBar(num_steps, f"epoch {epoch + 1}", "steps") as bar:
            started = time.perf_counter()
            for batches in loader.train_batches(epoch, start=self.state.batch):
                norm = self.train_step(batches)
                self.count_step(batches, norm, time.perf_counter() - started)
                self.threads.after_step(self.model, partial(self.compute_loss, batches[0]))
                bar.update(self.state.batch, self.meter.note)
                if self.state.batch == num_steps:
                    self.log.scalars("train_epoch", self.meter.end_epoch(self.new_metrics()), self.state.step)
                    self.state.end_epoch()
                self.finish_step()
                if self.settings.is_done(self.state):
                    return
                started = time.perf_counter()

    def train_step(self, batches: list[Batch]) -> Tensor:
        """One optimizer step: one global batch, however it is cut into micro-batches and shares; -> the gradient norm, ()."""
        counts = [{k: 0.0 if batch.is_filler else n for k, n in self.count_labels(batch).items()} for batch in batches]
        own = {name: sum(count[name] for count in counts) for name in counts[0]}
        divisor = self.worker.total(own)  # of the whole global batch
        self.scheduler.apply(self.optimizer, self.state.step)
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for batch, count in zip(batches, counts, strict=True):  # gradients add up
            on_device = batch.to(self.device)
            with self.worker.sync(self.network, self.model, is_last=batch is batches[-1]):
                with self.precision.autocast():
                    terms, outputs = self.network(on_device)
                loss = torch.stack([term / (divisor[name] or 1.0) for name, term in terms.items()]).sum()
                self.precision.scale(self.worker.share(loss, batch)).backward()
            if not batch.is_filler:
                total += loss.detach()
                self.meter.update(terms, count, outputs, on_device.labels)
        step, texts = self.state.step + 1, batches[0].rows[:5].tolist()
        return self.updater.apply(self.worker.summed(total), lambda: f"step {step}{self.worker.blamed(texts, total)}")

    def count_step(self, batches: list[Batch], norm: Tensor, seconds: float) -> None:
        """Count a step that is done, and log what the last ones gave where that is due."""
        num_texts, num_tokens = self.meter.sizes_of(batches)
        self.state.count_step(seconds, num_texts, num_tokens)
        self.meter.count_step(seconds, num_texts, num_tokens)
        if self.state.step % self.settings.log_every == 0:
            lr = max(group["lr"] for group in self.optimizer.param_groups)
            recent = self.meter.take_recent() | {"lr": lr, "grad_norm": float(norm), "epoch": self.state.epoch + 1}
            self.log.scalars("train", recent, self.state.step)

    def finish_step(self) -> None:
        """Validate and save where the step just done makes that due; leave if a signal asks for it."""
        is_new = "valid" in self.data.loaders and self.state.validated_step != self.state.step
        is_validated = is_new and self.settings.is_validation_due(self.state) and self.validate()
        number = self._signal()
        if number or is_validated or self.settings.is_save_due(self.state) or self.settings.is_done(self.state):
            self.save_checkpoint(is_changed=is_validated)
        if number:
            place = f"step {self.state.step} in {self.experiment.folder}"
            signals.leave(f"saved {place}; run the same command to resume", number)

    def validate(self) -> bool:
        """Measure the validation split and take note of the best; False where a signal has cut it short."""
        with self.snapshot.evaluated_weights():
            values = self.evaluate(self.data.loaders["valid"], self.new_metrics())
        if self._signal():
            return False
        gain, is_best = judge(values, self.state, self.settings, len(self.data.loaders["valid"]))
        self.scheduler.observe(gain)
        self.log.scalars("valid", values, self.state.step)
        words = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        notes = describe(self.state, self.settings, is_best)
        logger.info("epoch %d, step %d: valid %s%s", self.state.epoch, self.state.step, words, notes)
        if self.settings.is_stopped_early(self.state):
            validations = counted(self.state.num_bad, "validation")
            logger.info("stopped early: no better %s for %s (train.patience)", self.settings.metric, validations)
        return True

    @torch.no_grad()
    def evaluate(
        self, loader: Loader, metrics: Metrics, lines: list[tuple[int, Any]] | None = None
    ) -> dict[str, float]:
        """Loss and metrics of every text once; `lines` gets (row, its prediction) of all, on rank 0. A signal cuts it short."""
        losses = LossMeter()
        self.model.eval()
        for batch in loader.eval_batches():
            on_device = batch.to(self.device)
            terms, outputs = self.compute_loss(on_device)
            if not batch.is_filler:
                losses.update(terms, self.count_labels(batch))
                metrics.update(outputs, on_device.labels)
                if lines is not None and (found := self.predictions(batch, outputs)):
                    lines += zip(batch.rows.tolist(), found, strict=True)
            if self._signal():
                break
        self.model.train()
        metrics.counts = self.worker.summed(metrics.counts)
        if lines is not None:
            lines[:] = [line for own in self.worker.gathered_by_first(lines) for line in own]
        return losses.over(self.worker).compute() | metrics.compute()

    def _signal(self) -> int:
        """The signal that any of the processes has got and that asks for an end; 0 where none has."""
        return self.worker.largest(signals.received() or 0)

    def test(self) -> tuple[dict[str, Any], list[Any]]:
        """Measure the splits with the best weights (without validation, the last): -> their reports, the test's predictions."""
        self.snapshot.load_weights(self.state.best_step or self.state.step)
        results, lines = dict[str, Any](), list[tuple[int, Any]]()
        for split in [split for split in ("valid", "test") if split in self.data.loaders]:
            metrics = self.new_metrics()
            values = self.evaluate(self.data.loaders[split], metrics, lines if split == "test" else None)
            results[split] = values | metrics.report()
        return results, [line for _, line in sorted(lines, key=lambda pair: pair[0])]

    def finalize(self) -> dict[str, Any]:
        """Test the best weights and write the report; that file is what makes the run a finished one."""
        results, lines = self.test()
        with self.worker.first_alone("report"):  # the others stay until it is written
            if lines:
                self.write_views("test", lines)
            report = final_report(self.config, self.state, self.model, self.data.report, results)
            self.log.report(report, self.config.to_dict(), self.state.step)
            self.experiment.finish(report)
        return report

    def save_checkpoint(self, *, is_changed: bool = False) -> None:
        """Everything that an exact resume needs; the updates so far are known to be finite."""
        self.updater.check()
        self.log.flush()
        self.snapshot.save(self.state.step, self.state.best_step, is_changed=is_changed)

    def load_checkpoint(self) -> None:
        """Take the run up where its newest undamaged checkpoint stands, or begin it."""
        self.scheduler = build_schedule(self.config, self.settings, self.data.loaders["train"])
        self.freezing = build_freezing(self.config, self.model)
        self.precision = Precision(self.settings.precision, self.device)
        average = build_average(self.config, self.model)
        self.updater = Updater(self.model, self.optimizer, self.settings.max_grad_norm, self.precision, average)
        self.meter = TrainMeter(self.new_metrics(), self.worker)
        parts = {"run": self.state, "optimizer": self.optimizer, "scheduler": self.scheduler}
        places = self.experiment, self.settings.keep, self.device, self.data.facts
        self.snapshot = build_snapshot(*places, self.model, parts, self.updater, self.meter)
        separate_seeds(self.config.seed, self.worker.rank)
        resume(self.snapshot, self.state, self.settings, self.scheduler, self.optimizer)
        self.experiment.begin(self.config)
        self.log.open_at(self.state.step, is_validated=self.state.validated_step == self.state.step)
