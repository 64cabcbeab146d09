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
LANGUAGES = {"de": "text", "en": "title"}


def write_pairs(folder: Path) -> None:
    """pairs.yaml, and the rows as parallel files: train.de, train.en, ..."""
    (folder / "pairs.yaml").write_text(CONFIG)
    rows = tiny_rows()
    for split, part in {"train": rows[:40], "valid": rows[40:50], "test": rows[50:60]}.items():
        for language, column in LANGUAGES.items():
            (folder / f"{split}.{language}").write_text("".join(f"{row[column]}\n" for row in part))


def parallel(*splits: str) -> list[str]:
    """Words of the command line that take the parallel files instead."""
    files = {split: "{de: %s.de, en: %s.en}" % (split, split) for split in splits or ("train", "valid", "test")}  # noqa: UP031
    return [
        "data={name: parallel, source: de, target: en, max_length: 48, "
        + ", ".join(f"{k}: {v}" for k, v in files.items())
        + "}"
    ]
