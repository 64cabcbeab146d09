"""The original paper classifier's model on packed sequences: python packed_bilstm.py TRAIN.jsonl STEPS

Title and abstract each through a bidirectional LSTM (100 -> 100), the last states of both joined, a hidden layer of 200, three
labels; random batches of 64, Adagrad 0.01, gradients clipped at 5: what plain PyTorch does without thinking about length.
"""

import json
import random
import re
import sys
import time

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

if len(sys.argv) < 3:
    sys.exit(__doc__)

torch.set_num_threads(2)
torch.manual_seed(0)
BATCH_SIZE = 64


class PaperClassifier(nn.Module):
    """Two packed BiLSTMs and a feed-forward head."""

    def __init__(self, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(vocab_size, 100, padding_idx=0) for _ in range(2))
        self.lstms = nn.ModuleList(nn.LSTM(100, 100, batch_first=True, bidirectional=True) for _ in range(2))
        self.head = nn.Sequential(nn.Linear(400, 200), nn.ReLU(), nn.Dropout(0.2), nn.Linear(200, num_labels))

    def forward(self, fields: list[list[torch.Tensor]]) -> torch.Tensor:
        """Lists of id tensors for title and abstract -> (B, num_labels)."""
        vectors = []
        for embedding, lstm, texts in zip(self.embeddings, self.lstms, fields, strict=True):
            lengths = torch.tensor([len(text) for text in texts])
            embedded = embedding(pad_sequence(texts, batch_first=True))
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            _, (hidden, _) = lstm(packed)
            vectors.append(torch.cat([hidden[0], hidden[1]], dim=-1))
        return self.head(torch.cat(vectors, dim=-1))


word = re.compile(r"\w+|[^\w\s]")
with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
    rows = [json.loads(line) for line in file]
ids: dict[str, int] = {}
labels = sorted({row["venue"] for row in rows})
texts = [
    [torch.tensor([ids.setdefault(w, len(ids) + 1) for w in word.findall(row[field].lower())]) for row in rows]
    for field in ("title", "abstract")
]
gold = torch.tensor([labels.index(row["venue"]) for row in rows])
model = PaperClassifier(len(ids) + 1, len(labels))
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
order = random.Random(0).sample(range(len(rows)), len(rows))
num_tokens, started = 0, 0.0
for step in range(int(sys.argv[2]) + 1):
    if step == 1:
        num_tokens, started = 0, time.perf_counter()  # the first step warms up
    batch = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
    fields = [[column[i] for i in batch] for column in texts]
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(fields), gold[batch]).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    num_tokens += sum(len(text) for column in fields for text in column)
print(json.dumps({"tokens_per_second": num_tokens / (time.perf_counter() - started)}))
