"""transformers' Seq2SeqTrainer on text pairs: python seq2seq_trainer.py FOLDER BATCH STEPS PRECISION

FOLDER holds sizes.json and pairs.json (lists of source and target ids). A Marian model of those sizes with random weights, label
smoothing 0.1, DataCollatorForSeq2Seq, PRECISION single or mixed (bfloat16); all else as the Trainer has it. The last line is JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from marian_model import marian
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)

if len(sys.argv) < 5:
    sys.exit(__doc__)

torch.set_num_threads(2)
torch.manual_seed(0)
folder, batch, num_steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
WARM = 5  # steps that are not counted


class Meter(TrainerCallback):
    """Seconds of the steps after the first ones."""

    started = ended = 0.0
    steps = 0

    def on_step_begin(self, *arguments: Any, **options: Any) -> None:
        self.steps += 1
        if self.steps == WARM + 1:
            self.started = time.perf_counter()

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        self.ended = time.perf_counter()


class Counting(DataCollatorForSeq2Seq):
    """The collator, and the real tokens of the batches after the first ones: of sources, and of what the decoder reads."""

    batches, num_tokens = 0, 0

    def __call__(self, rows: Any, return_tensors: Any = None) -> Any:
        self.batches += 1
        if WARM < self.batches <= num_steps:
            type(self).num_tokens += sum(len(row["input_ids"]) + len(row["labels"]) for row in rows)
        return super().__call__(rows, return_tensors)


model = marian(folder)
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]", eos_token="[SEP]")
pairs = json.loads((folder / "pairs.json").read_text())
data = [{"input_ids": source, "attention_mask": [1] * len(source), "labels": target[1:]} for source, target in pairs]
options = Seq2SeqTrainingArguments(
    output_dir=str(folder / "trainer"),
    per_device_train_batch_size=batch,
    max_steps=num_steps,
    label_smoothing_factor=0.1,
    save_strategy="no",
    disable_tqdm=True,
    report_to=[],
    use_cpu=True,
    bf16=sys.argv[4] == "mixed",
)
meter, collator = Meter(), Counting(tokenizer, model=model)
Seq2SeqTrainer(model, options, data_collator=collator, train_dataset=data, callbacks=[meter]).train()
print()  # the Trainer's own lines end here
print(json.dumps({"tokens_per_second": Counting.num_tokens / (meter.ended - meter.started)}))
