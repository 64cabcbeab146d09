"""A small corpus of documents and the config that pre-trains on it."""

from pathlib import Path

from conftest import tiny_rows

CONFIG = """\
agent: pretraining
num_threads: 1
data: {train: tiny.txt, format: sentences, split: [0.6, 0.2, 0.2], max_length: 32}
tokenizer: {vocab_size: 300}
model: {hidden_size: 24, num_layers: 2, num_heads: 2, intermediate_size: 32, max_positions: 64, dropout: 0, attention_dropout: 0}
optimizer: {name: AdamW, lr: 0.01}
train: {num_epochs: 2, batch_size: 16}
"""
FINETUNE = """\
agent: classification
num_threads: 1
init_from: experiments/pretrained
data: {name: files, train: tiny.jsonl, fields: [title, text], join_fields: true, split: [0.6, 0.2, 0.2], max_length: 32}
optimizer: {name: Adam, lr: 0.001}
train: {num_epochs: 1}
"""


def write_corpus(folder: Path) -> None:
    """tiny.txt, tiny-documents.yaml and finetune.yaml."""
    texts = [f"{row['title']} .\n{row['text']} ." for row in tiny_rows()]
    documents = ["\n".join(texts[i : i + 2 + i % 2]) for i in range(len(texts) - 2)]
    (folder / "tiny.txt").write_text("\n\n".join(documents) + "\n")
    (folder / "documents.yaml").write_text(CONFIG)
    (folder / "finetune.yaml").write_text(FINETUNE)
