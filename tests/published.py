"""A published model of a few kilobytes, in the files that Hugging Face writes: for the tests of weights in and out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from conftest import tiny_rows

from main import main

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}
DISTIL_SIZES = {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 24, "max_position_embeddings": 40}

LABELS = ["chess", "cooking", "sailing"]  # those of the tiny corpus

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


KINDS = {
    "bert": (transformers.BertConfig, transformers.BertModel, transformers.BertForSequenceClassification),
    "distilbert": (
        transformers.DistilBertConfig,
        transformers.DistilBertModel,
        transformers.DistilBertForSequenceClassification,
    ),
    "roberta": (transformers.RobertaConfig, transformers.RobertaModel, transformers.RobertaForSequenceClassification),
}


def write_published(folder: Path, kind: str = "bert", *, labels: list[str] | None = None, **options: Any) -> Path:
    """A model of that kind with random weights and the words of the tiny corpus as its vocabulary; with labels a classifier."""
    folder.mkdir()
    vocab_size = (_write_byte_bpe if kind == "roberta" else _write_words)(folder)
    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}} if labels else {}
    sizes = {
        "bert": SIZES | {"num_hidden_layers": 2},
        "distilbert": DISTIL_SIZES,
        "roberta": SIZES
        | {"num_hidden_layers": 2, "max_position_embeddings": 42, "type_vocab_size": 1},  # from 2 on: 40
    }
    build_config, build, build_classifier = KINDS[kind]
    config = build_config(**({"vocab_size": vocab_size} | sizes[kind] | named | options))
    (build_classifier if labels else build)(config).save_pretrained(folder)
    return folder


def _write_words(folder: Path) -> int:
    """BERT's form of a tokenizer; -> its size."""
    words = {word for row in tiny_rows() for word in re.findall(r"\w+", f"{row['title']} {row['text']}".lower())}
    vocab = [*SPECIAL, *sorted(words)]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    return len(vocab)


def _write_byte_bpe(folder: Path) -> int:
    """RoBERTa's form, whose padding has id 1; -> its size."""
    library = tokenizers.ByteLevelBPETokenizer()
    texts = [f"{row['title']} {row['text']}" for row in tiny_rows()]
    library.train_from_iterator(texts, vocab_size=400, special_tokens=ROBERTA_SPECIAL, show_progress=False)
    library.save_model(str(folder))
    return int(library.get_vocab_size())


def change_config(folder: Path, **values: Any) -> None:
    """Write other values into a published model's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """The last line on stderr of a start that must end with that exit code, and without a traceback."""
    capsys.readouterr()
    assert main(["tiny.yaml", *words]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]
