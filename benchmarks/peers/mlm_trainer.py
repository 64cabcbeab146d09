"""The Hugging Face Trainer on masked language modelling: python mlm_trainer.py TRAIN.npy TOKENIZER.json SPECIAL.json STEPS

A BERT of hidden size 256, 4 layers, 4 heads, 1,024, without dropout, 32 sequences a step, DataCollatorForLanguageModeling with 15%
masks; all else as the Trainer has it. The last line is JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_bert import small_bert
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

if len(sys.argv) < 5:
    sys.exit(__doc__)

torch.set_num_threads(2)
torch.manual_seed(0)


class Meter(TrainerCallback):
    """Seconds of the training steps."""

    started = ended = 0.0

    def on_step_begin(self, *arguments: Any, **options: Any) -> None:
        self.started = self.started or time.perf_counter()

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        self.ended = time.perf_counter()


rows = np.load(sys.argv[1])
special = json.loads(Path(sys.argv[3]).read_text())
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[2], **special)
model = small_bert(len(tokenizer))
data = [{"input_ids": row.tolist()} for row in rows[: 32 * int(sys.argv[4])]]
with tempfile.TemporaryDirectory() as folder:
    options = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=32,
        max_steps=int(sys.argv[4]),
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    meter = Meter()
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    Trainer(model, options, data_collator=collator, train_dataset=data, callbacks=[meter]).train()
num_tokens = int(sys.argv[4]) * 32 * rows.shape[1]
print()  # the Trainer's own lines end here
print(json.dumps({"tokens_per_second": num_tokens / (meter.ended - meter.started)}))
