"""A small set of text pairs and the config that trains an encoder-decoder on it."""

from pathlib import Path

from conftest import tiny_rows

CONFIG = """\
agent: seq2seq
num_threads: 1
data: {name: files, train: tiny.jsonl, source: text, target: title, split: [0.6, 0.2, 0.2], max_length: 48}
tokenizer: {vocab_size: 300}
model: {hidden_size: 24, num_layers: 2, num_heads: 2, intermediate_size: 32, dropout: 0.1, attention_dropout: 0.1}
generation: {beam_size: 2, max_length: 16}
optimizer: {name: AdamW, lr: 0.01}
train: {num_epochs: 5, batch_size: 16, accumulation_steps: 3, max_grad_norm: 1.0, save_every: 3 steps, validate_every: 7 steps}
"""


def write_pairs(folder: Path) -> None:
    """pairs.yaml, and parallel files train.de, train.en, ...: texts, and what stands before their "and"."""
    (folder / "pairs.yaml").write_text(CONFIG)
    texts = [row["text"] for row in tiny_rows()]
    for split, part in {"train": texts[:100], "valid": texts[100:110], "test": texts[110:]}.items():
        (folder / f"{split}.de").write_text("".join(f"{text}\n" for text in part))
        (folder / f"{split}.en").write_text("".join(f"{text.split(' and ')[0]}\n" for text in part))


def parallel(*splits: str) -> list[str]:
    """Words of the command line that take the parallel files instead."""
    files = {split: "{de: %s.de, en: %s.en}" % (split, split) for split in splits or ("train", "valid", "test")}  # noqa: UP031
    return [
        "data={name: parallel, source: de, target: en, max_length: 48, "
        + ", ".join(f"{k}: {v}" for k, v in files.items())
        + "}"
    ]
