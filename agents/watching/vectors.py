"""Vectors for TensorBoard's Projector: those of test texts, and the word embeddings. N: texts, V: vocabulary size."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from agents.running.data import Data
from datasets.tokenizers.pair import TokenizerPair
from utils.distributed.fsdp import whole
from utils.distributed.worker import Worker
from utils.runs.projector import MAX_POINTS, Projector, spread
from utils.runs.run_log import RunLog

SINK = "the projector"


class Vectors:
    """Collects the vectors of a run. Every process has one, with the texts that it evaluates; the first one writes."""

    def __init__(self, model: nn.Module, data: Data, log: RunLog, worker: Worker) -> None:
        self.model, self.data, self.log, self.worker = model, data, log, worker
        self.projector = Projector(log.events_folder)
        self.kept: list[tuple[int, np.ndarray]] = []  # (row, vector) of the chosen texts
        self.chosen = frozenset[int]()
        self._last: Tensor | None = None
        head = getattr(model, "head", None)
        if isinstance(head, nn.Module) and "test" in data.loaders:
            self.chosen = chosen_rows(data.loaders["test"].examples)
            head.register_forward_pre_hook(self._note)

    def _note(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Remember the input of the head, (B, H), of an evaluation."""
        self._last = None if head.training else inputs[0]

    def keep(self, rows: np.ndarray) -> None:
        """Keep the vectors of a batch of the test split that was just evaluated; rows (B,)."""
        if self._last is not None:
            pairs = zip(rows.tolist(), self._last.float().cpu().numpy(), strict=True)
            self.kept += [(row, vector) for row, vector in pairs if row in self.chosen]

    def gather(self) -> None:
        """After the test, on all ranks: bring the vectors of texts to the first one, and write the word embeddings."""
        self._last = None
        self.kept = sorted((pair for own in self.worker.gathered_by_first(self.kept) for pair in own), key=_row)
        for name, table, tokenizer, ids in word_embeddings(self.model, self.data):
            values = whole(table.detach())
            if self.worker.is_first:
                counts = np.bincount(np.concatenate(ids), minlength=tokenizer.vocab_size)
                chosen = np.argsort(-counts, kind="stable")[:MAX_POINTS]
                rows = [(tokenizer.token(id), int(counts[id])) for id in chosen.tolist()]
                self._write(f"vocabulary-{name}", values.float().cpu().numpy()[chosen], ("token", "count"), rows)

    def write_texts(self, lines: Sequence[dict[str, Any]], fields: Sequence[str]) -> None:
        """Write the vectors of texts, with what is known of each; lines: all of predictions.jsonl. On rank 0."""
        rows = []
        for line in (lines[row] for row, _ in self.kept):
            texts = line.get("fields", line)  # see datasets/rows/predictions.py
            text = " / ".join(str(texts[field]) for field in fields)
            rows.append((line.get("gold", ""), line.get("predicted", ""), line["id"], text))
        if self.kept:
            vectors = np.stack([vector for _, vector in self.kept])
            self._write("test_texts", vectors, ("gold", "predicted", "id", "text"), rows)

    def _write(self, name: str, vectors: np.ndarray, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.log.attempt(SINK, lambda: self.projector.add(name, vectors, columns, rows))


def _row(pair: tuple[int, np.ndarray]) -> int:
    return pair[0]


def chosen_rows(examples: Any) -> frozenset[int]:
    """The rows of a split whose vectors are shown, of each label its share; of several labels a text, of each set of them."""
    labels = getattr(examples, "columns", {}).get("label", np.zeros(len(examples)))
    return frozenset(spread(np.unique(labels, axis=0, return_inverse=True)[1].ravel()).tolist())


def word_embeddings(model: nn.Module, data: Data) -> Iterator[tuple[str, Tensor, Any, list[np.ndarray]]]:
    """Each table of a model with a row for every token of a vocabulary: (name, table (V, E), tokenizer, training tokens).

    The tokens are those of all fields that the tokenizer is for; of text pairs, an encoder has the source's.
    """
    tokenizer, examples = data.artifacts.tokenizer, data.loaders["train"].examples
    sides = (tokenizer.source, tokenizer.target) if isinstance(tokenizer, TokenizerPair) else (tokenizer,)
    fields = _tokens(examples)
    for name, module in model.named_modules():
        number = 0 if len(sides) == 1 or name.startswith("encoders.") else 1
        if fields and isinstance(module, nn.Embedding) and module.num_embeddings == sides[number].vocab_size:
            yield name, module.weight, sides[number], fields if len(sides) == 1 else fields[number : number + 1]


def _tokens(examples: Any) -> list[np.ndarray]:
    """The ids of a split's tokens, by field; none of examples of an unknown kind."""
    if hasattr(examples, "source"):  # text pairs
        return [examples.source.ids, examples.target.ids]
    fields = getattr(examples, "fields", None) or filter(None, [getattr(examples, "tokens", None)])
    return [field.ids for field in fields]
