"""The Hugging Face Trainer over given batches: python -P hf_trainer.py FOLDER BATCHES OUT

A process of its own with another working directory, since our `datasets` would shadow the library of that name. FOLDER: a published
classifier; BATCHES: what torch.save made of a list of its inputs, one step each. OUT: {warm-up steps: {"losses", "weights"}}, once with
the Trainer as it is and once warmed up, one update ahead as our schedules are.
"""

import sys
import tempfile
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

OPTIONS = {
    "learning_rate": 0.003,
    "weight_decay": 0.01,
    "max_grad_norm": 0.5,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 1,  # a row of the data set is a batch
    "train_sampling_strategy": "sequential",
    "remove_unused_columns": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}
DROPOUTS = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}


class OneAheadTrainer(Trainer):
    """The Trainer whose k-th update in the warm-up, from 0 on, has (k + 1) / warmup_steps of the rate; its own has k / warmup_steps."""

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """After the warm-up the factor falls, and the one ahead is the smaller one."""
        (factor,) = {*super().create_scheduler(num_training_steps, optimizer).lr_lambdas}
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: max(factor(step), factor(step + 1))
        )
        return self.lr_scheduler


def train(
    kind: type[Trainer], folder: str, batches: list[dict[str, torch.Tensor]], warmup_steps: int
) -> dict[str, Any]:
    """-> the loss of each step, and the weights after the last."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, **DROPOUTS)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(output_dir=out, warmup_steps=warmup_steps, **OPTIONS)
        trainer = kind(model, arguments, train_dataset=batches, data_collator=lambda rows: rows[0])
        trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"losses": losses, "weights": model.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, batches, out = sys.argv[1:]
    read = torch.load(batches)
    found = {steps: train(kind, folder, read, steps) for kind, steps in ((Trainer, 0), (OneAheadTrainer, 3))}
    torch.save(found, out)
