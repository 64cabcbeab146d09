"""A plain transformers loop on masked language modelling:

    python mlm_loop.py TRAIN.npy VALID.npz VOCAB_SIZE MASK_ID SECONDS OUT [THREADS]

A BERT of hidden size 256, 4 layers, 4 heads, 1,024, without dropout; 32 sequences a step, 15% masks 80/10/10, AdamW 1e-3 (.9, .98),
weight decay .01 on matrices, clipped at 1.0, 300 steps of warm-up, then linear to zero at the end of SECONDS; only masked tokens go
through the head. Every 200 steps a line of JSON in OUT: seconds, tokens, and the loss and accuracy at the fixed places of VALID.
"""

import json
import sys
import time

import numpy as np
import torch
from small_bert import small_bert
from torch.nn import functional

if len(sys.argv) < 7:
    sys.exit(__doc__)

torch.set_num_threads(int([*sys.argv, "2"][7]))
torch.manual_seed(0)
rows, valid = torch.from_numpy(np.load(sys.argv[1])).long(), np.load(sys.argv[2])
vocab_size, mask_id, budget = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
model = small_bert(vocab_size)
decayed = [p for p in model.parameters() if p.ndim >= 2]
others = [p for p in model.parameters() if p.ndim < 2]
groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)
NUM_SPECIAL = 5


def logits_at(ids: torch.Tensor, places: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """(B, T) ids and the places (M,) in the flattened batch -> (M, V)."""
    hidden = model.bert(ids, attention_mask=mask).last_hidden_state.flatten(0, 1)
    return model.cls(hidden[places])


def mask_tokens(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """15% of the tokens: 80% [MASK], 10% another one, 10% as they are."""
    chosen = (torch.rand(ids.shape) < 0.15) & (ids >= NUM_SPECIAL)
    way, hidden = torch.rand(ids.shape), ids.clone()
    hidden[chosen & (way < 0.8)] = mask_id
    is_random = chosen & (way >= 0.8) & (way < 0.9)
    hidden[is_random] = torch.randint(NUM_SPECIAL, vocab_size, (int(is_random.sum()),))
    places = chosen.flatten().nonzero()[:, 0]
    return hidden, places, ids.flatten()[places]


@torch.no_grad()
def measure() -> tuple[float, float]:
    """Loss and accuracy of the validation sequences."""
    model.eval()
    ids, places, labels = (torch.from_numpy(valid[name]) for name in ("input_ids", "places", "ids"))
    mask, total, right = torch.from_numpy(valid["mask"]).long(), 0.0, 0
    for start in range(0, len(ids), 64):
        first, last = start * ids.shape[1], (start + 64) * ids.shape[1]
        own = (places >= first) & (places < last)
        logits = logits_at(ids[start : start + 64], places[own] - first, mask[start : start + 64])
        total += float(functional.cross_entropy(logits, labels[own], reduction="sum"))
        right += int((logits.argmax(dim=-1) == labels[own]).sum())
    model.train()
    return total / len(labels), right / len(labels)


step, spent = 0, 0.0
while spent < budget:
    for batch in torch.randperm(len(rows)).split(32):
        started = time.perf_counter()
        factor = min(1.0, (step + 1) / 300) * max(0.0, 1.0 - spent / budget)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * factor
        ids, places, labels = mask_tokens(rows[batch])
        optimizer.zero_grad()
        functional.cross_entropy(logits_at(ids, places), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        spent, step = spent + time.perf_counter() - started, step + 1
        if step % 200 == 0 or spent >= budget:
            loss, accuracy = measure()
            facts = {"seconds": spent, "tokens": step * 32 * rows.shape[1], "loss": loss, "accuracy": accuracy}
            with open(sys.argv[6], "a", encoding="utf-8") as file:  # noqa: PTH123
                file.write(json.dumps(facts) + "\n")
        if spent >= budget:
            break
print(json.dumps(facts))
