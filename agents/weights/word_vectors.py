"""Pre-trained word vectors in the tables of a model's encoders."""

import logging
from typing import Any

import torch
from torch import nn

from datasets.tokenizers.word import PAD_ID, UNKNOWN_ID
from datasets.tokenizers.word_vectors import WordVectors
from graphs.layers.embedding import Embedding
from utils.config.config import Config
from utils.config.schema import construct

logger = logging.getLogger("glassbox")


def load_vectors(config: Config, model: nn.Module, tokenizer: object, *, is_resumed: bool = False) -> None:
    """Put the vectors of the config's section `vectors` into every encoder's table, and say how many words were found.

    A resumed run has them in its checkpoint, and needs the file no more.
    """
    if "vectors" not in config:
        return
    encoders: Any = getattr(model, "encoders", ())
    tables = [table for encoder in encoders if isinstance(table := getattr(encoder, "embedding", None), Embedding)]
    ids = getattr(tokenizer, "ids", None)
    if not tables or ids is None:
        raise config.error(
            "vectors",
            f"vectors need a model with a word table and tokenizer word; got {config.model.name}, {config.tokenizer.name}",
        )
    source: WordVectors = construct(config, "vectors", WordVectors, config.vectors)
    if is_resumed:
        for table in tables:
            table.weight.requires_grad_(not source.freeze)
        return
    rows, vectors = source.read({word: id for word, id in ids.items() if id != PAD_ID}, tables[0].embedding_dim)
    for table in tables:
        table.set_vectors(torch.from_numpy(rows), torch.from_numpy(vectors), freeze=source.freeze)
    found, words = int((rows > UNKNOWN_ID).sum()), len(ids) - 2
    logger.info("%s: %.1f%% of the vocabulary found (%d of %d words)", source.path, 100 * found / words, found, words)
