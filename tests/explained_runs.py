"""Trained runs of every kind that can be explained, each made once."""

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path

from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from agents.explaining.embedded import EmbeddedText
from agents.running.given_text import one_record
from agents.running.predictor import Predictor
from datasets.rows.records import Record
from main import main

TEXT = {"title": "Boil the rice", "text": "Salt the SOUP and whisk the eggs, then castle the king again"}
WORDPIECE = "tokenizer={name: wordpiece, vocab_size: 300, special_tokens: true}"
TRANSFORMER = (
    "model={name: transformer, hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 24, dropout: 0}"
)
BAG = [
    "model={name: bag_of_embeddings, embedding_size: 6}",
    "head={hidden_sizes: [], dropout: 0}",
    "data.fields=[text]",
]
VARIANTS = {
    "two fields": [],
    "joined": ["data.join_fields=true", "data.max_length=9"],
    "n-grams": [*BAG, "tokenizer={name: word, ngrams: 3}", "data.max_length=9"],
    "max": ["model={name: bag_of_embeddings, embedding_size: 6, pooling: max}"],
    "head and tail": ["data.long_texts=head_tail", "data.max_length=6"],
    "windows": ["data.long_texts=windows", "data.max_length=6", "data.stride=2", WORDPIECE, TRANSFORMER],
    "pair": [
        "head={hidden_sizes: [], dropout: 0}",
        "data.pair=true",
        WORDPIECE,
        TRANSFORMER.replace("num_layers: 2", "num_layers: 2, pooling: cls"),
        "data.max_length=24",
    ],
    "bytes": ["tokenizer={name: byte_bpe, vocab_size: 300}", TRANSFORMER, "data.max_length=60"],
    "bert": [
        WORDPIECE,
        "data.join_fields=true",
        "data.max_length=32",
        "model={name: bert, hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 24}",
    ],
    "several labels": [*BAG, "data.multi_label=true"],
    "number": ["data.label=stars", *BAG],
    "siamese": ["data.label=is_chess"],
}


@functools.cache
def folder() -> Path:
    """Where the runs are."""
    folder = Path(tempfile.mkdtemp(prefix="glassbox-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rows = [row | {"stars": float(len(row["text"])), "is_chess": str(row["label"] == "chess")} for row in tiny_rows()]
    write_jsonl(folder / "tiny.jsonl", rows)  # type: ignore[arg-type]
    (folder / "classification.yaml").write_text(TINY_CONFIG)
    siamese = TINY_CONFIG.replace("agent: classification", "agent: similarity")
    siamese = siamese.replace("hidden_sizes: [8]", "scale: 5").replace("dropout: 0.1", "threshold: 0.3")
    (folder / "similarity.yaml").write_text(siamese)
    (folder / "regression.yaml").write_text(TINY_CONFIG.replace("agent: classification", "agent: regression"))
    return folder


@functools.cache
def trained(name: str) -> Path:
    """The run of a variant, trained for an epoch when it is first asked for; not to be changed."""
    with contextlib.chdir(folder()):
        config = {"number": "regression.yaml", "siamese": "similarity.yaml"}.get(name, "classification.yaml")
        assert main([config, *VARIANTS[name], "train.num_epochs=1", "optimizer.lr=0.005", f"name={name}"]) == 0
    return folder() / "experiments" / name


def opened(name: str) -> Predictor:
    return load(trained(name))


def record_of(predictor: Predictor, text: object = TEXT) -> Record:
    (row,) = predictor.rows([text])  # type: ignore[list-item]
    return one_record(predictor.corpus, row.values, has_target=False)


def embedded(predictor: Predictor, text: object = TEXT) -> EmbeddedText:
    return EmbeddedText(predictor, record_of(predictor, text))
