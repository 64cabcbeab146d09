"""A published model of a few kilobytes, in the files that Hugging Face writes: for the tests of weights in and out."""

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import tiny_rows

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}
DISTIL_SIZES = {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 24, "max_position_embeddings": 40}

CONFIG = """\
agent: classification
num_threads: 1
init_from: {folder}
data:
  name: files
  train: tiny.jsonl
  fields: [title, text]
  join_fields: true
  split: [0.6, 0.2, 0.2]
  max_length: 24
model:
  name: bert
optimizer:
  name: AdamW
  lr: 0.003
train:
  num_epochs: 1
  batch_size: 16
"""


def write_published(folder: Path, kind: str = "bert", *, labels: list[str] | None = None, **options: Any) -> Path:
    """A model of that kind with random weights and the words of the tiny corpus as its vocabulary; with labels a classifier."""
    words = sorted(
        {word for row in tiny_rows() for word in re.findall(r"\w+", f"{row['title']} {row['text']}".lower())}
    )
    vocab = [*SPECIAL, *words]
    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}} if labels else {}
    if kind == "distilbert":
        config = transformers.DistilBertConfig(vocab_size=len(vocab), **DISTIL_SIZES, **named, **options)
        build = transformers.DistilBertForSequenceClassification if labels else transformers.DistilBertModel
    else:
        sizes = SIZES | {"num_hidden_layers": 2} | options
        config = transformers.BertConfig(vocab_size=len(vocab), **sizes, **named)
        build = transformers.BertForSequenceClassification if labels else transformers.BertModel
    build(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    return folder
