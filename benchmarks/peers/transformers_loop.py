"""A plain loop over transformers: python transformers_loop.py MODEL_FOLDER TRAIN.jsonl STEPS

Published weights fine-tuned to classify: random batches of 16 texts padded to the longest, AdamW, gradients clipped at 1, as the
library's course has it. The file holds {"input_ids": [...], "labels": number} a line, cut to what the model is to see.
"""

import json
import random
import sys
import time
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

if len(sys.argv) < 4:
    sys.exit(__doc__)

torch.set_num_threads(2)
torch.manual_seed(0)
BATCH_SIZE, PAD_ID = 16, 0


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """What DataCollatorWithPadding does: pad to the longest of the batch."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [PAD_ID] * (longest - len(row["input_ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}


with open(sys.argv[2], encoding="utf-8") as file:  # noqa: PTH123
    texts = [json.loads(line) for line in file]
num_labels, num_steps = 1 + max(text["labels"] for text in texts), int(sys.argv[3])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=num_labels)
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
order = random.Random(0).sample(texts, len(texts))
num_tokens, started = 0, 0.0
for step in range(num_steps + 1):
    if step == 1:
        num_tokens, started = 0, time.perf_counter()  # the first step warms up
    batch = collate([order[(step * BATCH_SIZE + i) % len(order)] for i in range(BATCH_SIZE)])
    optimizer.zero_grad()
    model(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    num_tokens += int(batch["attention_mask"].sum())
seconds = time.perf_counter() - started
speed = {"texts_per_second": num_steps * BATCH_SIZE / seconds, "tokens_per_second": num_tokens / seconds}
print(json.dumps(speed))
