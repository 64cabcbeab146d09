"""The life of every run: build -> (resume) -> train -> validate -> test on the best checkpoint -> report.

This file holds the loop alone. What differs from task to task is in task.py; assembled_task.py builds, restores and saves the parts
of a run.
"""

import logging
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from agents.assembled_task import AssembledTask
from agents.running.evaluating import evaluate, split_batches
from datasets.batches.ahead import made_ahead
from datasets.batches.examples import Batch
from utils.errors import counted
from utils.machine import signals
from utils.machine.progress_bar import StepBar
from utils.metrics.base import Metrics
from utils.runs.run_report import final_report
from utils.training.train_meter import TEXTS, TOKENS, sizes_of
from utils.training.validation import describe, judge

logger = logging.getLogger("glassbox")


class BaseAgent(AssembledTask):
    """A run: takes a task and its parts through the loop."""

    def run(self) -> dict[str, Any]:
        """Train to the end, resuming where the run stands; -> the report. A finished run just returns it."""
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
        """Train for the rest of the current epoch, or until the run is done."""
        loader, epoch = self.data.loaders["train"], self.state.epoch
        self.begin_epoch(epoch)
        num_steps = loader.num_steps(epoch)
        batches = loader.train_batches(epoch, self.state.batch, self.state.step)
        steps = made_ahead(batches, is_on=self.device.type == "cuda")
        with StepBar(num_steps, f"epoch {epoch + 1}", "steps") as bar:
            started = time.perf_counter()
            for micro_batches in steps:
                norm = self.train_step(micro_batches)
                self.count_step(norm, time.perf_counter() - started)
                self.threads.after_step(self.model, partial(self.compute_loss, micro_batches[0]))
                bar.update(self.state.batch, self.meter.note)
                if self.state.batch == num_steps:
                    self.log.scalars("train_epoch", self.meter.end_epoch(self.new_metrics()), self.state.step)
                    self.state.end_epoch()
                self.watch.after_step(self.state, micro_batches[0])
                self.finish_step()
                if self.settings.is_done(self.state):
                    return
                started = time.perf_counter()

    def begin_epoch(self, epoch: int) -> None:
        """Freeze what does not learn in it, and wrap the rest for several processes."""
        if self.freezing is not None:
            self.freezing.apply(epoch)
        self.network = self.worker.network(self.compute_loss, self.model)  # of the parameters that learn in this epoch

    def train_step(self, batches: list[Batch]) -> Tensor:
        """One optimizer step: one global batch, however it is cut into micro-batches and shares; -> the gradient norm, ()."""
        counts = [{k: 0.0 if batch.is_filler else n for k, n in self.count(batch).items()} for batch in batches]
        own = {name: sum(count[name] for count in counts) for name in counts[0]}
        divisor = self.worker.total(own | sizes_of(batches))  # of the whole global batch: one small all-reduce a step
        self.sizes = int(divisor[TEXTS]), int(divisor[TOKENS])
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
                self.meter.update(terms, count, outputs, on_device)
        step, texts = self.state.step + 1, batches[0].rows[:5].tolist()
        return self.updater.apply(self.worker.summed(total), lambda: f"step {step}{self.worker.blamed(texts, total)}")

    def count_step(self, norm: Tensor, seconds: float) -> None:
        """Count a step that is done, and log what the last ones gave where that is due."""
        self.state.count_step(seconds, *self.sizes)
        self.meter.count_step(seconds, *self.sizes)
        if self.state.step % self.settings.log_every == 0:
            lr = max(group["lr"] for group in self.optimizer.param_groups)
            recent = self.meter.take_recent() | {"lr": lr, "grad_norm": float(norm), "epoch": self.state.epoch + 1}
            self.log.scalars("train", recent, self.state.step)

    def finish_step(self) -> None:
        """Validate and save where the step just done makes that due; leave if a signal asks for it."""
        is_new = "valid" in self.data.loaders and self.state.validated_step != self.state.step
        is_validated = is_new and self.settings.is_validation_due(self.state) and self.validate()
        number = self.signal()
        if number or is_validated or self.settings.is_save_due(self.state) or self.settings.is_done(self.state):
            self.save_checkpoint(is_changed=is_validated)
        if number:
            place = f"step {self.state.step} in {self.experiment.folder}"
            signals.leave(f"saved {place}; {signals.same_command()} to resume", number)

    def validate(self) -> bool:
        """Measure the validation split and take note of the best; False where a signal has cut it short."""
        with self.checkpointer.evaluated_weights():
            values = self.evaluate("valid", self.new_metrics())
            if self.signal():
                return False
            self.show_validation(values)
        gain, is_best = judge(values, self.state, self.settings, len(self.data.loaders["valid"]))
        self.scheduler.observe(gain)
        self.log.scalars("valid", values, self.state.step)
        words = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        notes = describe(self.state, self.settings, is_best) + self.log.beside_reference(values, self.state.step)
        logger.info("epoch %d, step %d: valid %s%s", self.state.epoch, self.state.step, words, notes)
        if self.settings.is_stopped_early(self.state):
            validations = counted(self.state.num_bad, "validation")
            logger.info("stopped early: no better %s for %s (train.patience)", self.settings.metric, validations)
        return True

    def evaluate(self, split: str, metrics: Metrics, answers: list[tuple[int, Any]] | None = None) -> dict[str, float]:
        """Loss and metrics of a split; answers: see agents/running/evaluating.py. A signal cuts it short."""
        values = evaluate(self, split_batches(self, split), metrics, answers)
        self.model.train()
        return values

    def signal(self) -> int:
        """The stop signal that any process has received, the same on all ranks; 0 if none."""
        return self.worker.largest(signals.received() or 0)

    def test(self) -> tuple[dict[str, Any], list[Any]]:
        """Measure the splits with the best weights (without validation, the last): -> their reports, the test's predictions."""
        self.checkpointer.load_weights(self.state.best_step or self.state.step)
        results, answers = dict[str, Any](), list[tuple[int, Any]]()
        for split in [split for split in ("valid", "test") if split in self.data.loaders]:
            metrics = self.new_metrics()
            values = self.evaluate(split, metrics, answers if split == "test" else None)
            results[split] = values | metrics.report() | self.evaluation_options()
        return results, [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]

    def finalize(self) -> dict[str, Any]:
        """Test the best weights and write the report; a run counts as finished once that file exists."""
        results, answers = self.test()
        self.watch.after_test()
        with self.worker.first_alone("report"):  # the others stay until it is written
            if answers:
                self.write_views("test", list(self.data.lines("test", map(self.answer, answers))))
            report = final_report(self.config, self.state, self.model, self.data.report, results)
            self.log.report(report, self.state.step)
            self.experiment.finish(report)
        return report
