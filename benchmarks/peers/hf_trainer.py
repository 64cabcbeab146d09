"""The Hugging Face Trainer: python hf_trainer.py TRAIN.jsonl VALID.jsonl SAMPLING STEPS VOCAB_SIZE DEVICE

A BERT from nothing, on cpu of hidden size 256, 4 layers, 4 heads, 1,024, batches of 32 texts, and on cuda BERT-base in bfloat16
without dropout of attention, batches of 256; padded to the longest; all else as the Trainer has it. SAMPLING: random (its default)
or group_by_length. Files of {"input_ids": [...], "labels": number} a line.
"""

import json
import sys
import tempfile
import time
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

if len(sys.argv) < 7:
    sys.exit(__doc__)

torch.set_num_threads(2)
torch.manual_seed(0)
PAD_ID = 0
IS_CUDA = sys.argv[6] == "cuda"
BATCH_SIZE = 256 if IS_CUDA else 32
SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
if IS_CUDA:
    SIZES = {"attention_probs_dropout_prob": 0.0}  # BertConfig's defaults are those of BERT-base


class Meter(TrainerCallback):
    """Real tokens, texts, places padded ones included, and seconds of the training steps."""

    def __init__(self) -> None:
        self.num_tokens = torch.zeros((), dtype=torch.int64)
        self.num_texts = self.num_places = 0
        self.started = self.ended = 0.0

    def on_step_begin(self, *arguments: Any, **options: Any) -> None:
        self.started = self.started or time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        if IS_CUDA and state.global_step == state.max_steps:
            torch.cuda.synchronize()
        self.ended = time.perf_counter()


class MeteredTrainer(Trainer):
    """Counts what it trains on."""

    def training_step(self, model: Any, inputs: dict[str, torch.Tensor], *arguments: Any) -> torch.Tensor:
        """One step of the Trainer."""
        mask = inputs["attention_mask"]
        meter.num_tokens = meter.num_tokens.to(mask.device) + mask.sum()  # not read here: a CUDA device would wait
        meter.num_texts += len(mask)
        meter.num_places += mask.numel()
        return super().training_step(model, inputs, *arguments)


def read(path: str) -> list[dict[str, Any]]:
    """The rows of a file."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return [json.loads(line) for line in file]


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """What DataCollatorWithPadding does: pad to the longest of the batch."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [PAD_ID] * (longest - len(row["input_ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}


train, valid, sampling = read(sys.argv[1]), read(sys.argv[2]), sys.argv[3]
config = BertConfig(vocab_size=int(sys.argv[5]), **SIZES)
config.num_labels = 1 + max(row["labels"] for row in train)
model = BertForSequenceClassification(config)
with torch.no_grad():
    model(**collate(train[:BATCH_SIZE]))  # the first call of a kernel is not counted
with tempfile.TemporaryDirectory() as folder:
    options = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=BATCH_SIZE,
        per_device_eval_batch_size=BATCH_SIZE,
        max_steps=int(sys.argv[4]),
        train_sampling_strategy=sampling,
        remove_unused_columns=False,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=not IS_CUDA,
        bf16=IS_CUDA,
    )
    meter = Meter()
    trainer = MeteredTrainer(
        model, options, data_collator=collate, train_dataset=train, eval_dataset=valid, callbacks=[meter]
    )
    trainer.train()
    evaluation = trainer.evaluate()
seconds, num_tokens = meter.ended - meter.started, int(meter.num_tokens)
result = {
    "tokens_per_second": num_tokens / seconds,
    "texts_per_second": meter.num_texts / seconds,
    "padding": 1 - num_tokens / meter.num_places,
    "eval_texts_per_second": evaluation["eval_samples_per_second"],
}
print()  # the Trainer's own lines end here
print(json.dumps(result))
