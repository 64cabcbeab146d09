"""Rows of a split -> padded batches. B: texts, T: tokens of the longest of them, N: real tokens, W: windows of all texts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from datasets.order import epoch_batches, ordered_batches, shares
from datasets.store import SplitData
from datasets.tokens import Tokens


@dataclass(frozen=True)
class Batch:
    """Some texts, padded, still on the host until `to`.

    fields: for each field
        input_ids (B, T) int64, and attention_mask (B, T) bool, True at real tokens;
        on any device but the CPU token_index (N,) int64, the places of the real tokens in the B * T: made on the host, so that
        a model can take them without waiting to hear how many there are;
        of pairs token_type_ids (B, T) int64, 0 in the first text and padding, 1 in the second;
        of texts that are cut into windows text_index (W,) int64, the text (0 to B - 1) of each row of the other tensors, which then
        have W rows for their B, and num_windows (B,) int64, how many each text has.
    is_filler: whether it is there only for another process' sake, which waits for this one's part: it counts nothing.
    labels: (B,) int64 with -100 where nothing is counted, or (B, num_labels) float for several labels a text; rows: (B,) their
    numbers in the split.
    """

    fields: list[dict[str, Tensor]]
    labels: Tensor
    rows: np.ndarray
    num_tokens: int
    is_filler: bool = False

    def to(self, device: torch.device) -> "Batch":
        """The batch on the device that computes."""
        if device.type == "cpu":
            return self
        indexed = [field | {"token_index": field["attention_mask"].flatten().nonzero()[:, 0]} for field in self.fields]
        fields = [{name: tensor.to(device, non_blocking=True) for name, tensor in field.items()} for field in indexed]
        return replace(self, fields=fields, labels=self.labels.to(device, non_blocking=True))


def collate(fields: list[Tokens], labels: np.ndarray, rows: np.ndarray) -> Batch:
    """Pad the chosen rows of every field; `labels` are those of all rows."""
    gold = np.asarray(labels[rows])
    padded = [_field(tokens, rows) for tokens in fields]
    return Batch(
        fields=[{name: torch.from_numpy(array) for name, array in field.items()} for field in padded],
        labels=torch.from_numpy(gold.astype(np.float32) if gold.ndim == 2 else gold),
        rows=rows,
        num_tokens=sum(int(field["attention_mask"].sum()) for field in padded),
    )


def _field(tokens: Tokens, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What `Batch.fields` says of one field."""
    ids, mask = tokens.pad(rows)
    field = {"input_ids": ids, "attention_mask": mask}
    if tokens.second_starts is not None:
        is_second = np.arange(ids.shape[1]) >= tokens.second_starts[rows][:, None]
        field["token_type_ids"] = (is_second & mask).astype(np.int64)
    if tokens.window is not None:
        field["num_windows"] = tokens.num_windows(rows)
        field["text_index"] = np.repeat(np.arange(len(rows)), field["num_windows"])
    return field


class Loader:
    """The batches of one split: in the order of (seed, epoch) for training, longest first for evaluation.

    Of several processes, each takes its part, about as many tokens as the others; all get the same number of batches, and where
    there is nothing left for one, it gets a filler.
    """

    def __init__(
        self,
        data: SplitData,
        *,
        batch_size: int,
        batch_tokens: int | None = None,
        accumulation_steps: int = 1,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.data = data
        self.lengths = data.lengths
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        self.accumulation_steps, self.seed = accumulation_steps, seed
        self.rank, self.num_ranks = rank, num_ranks

    def __len__(self) -> int:
        """Texts in the split."""
        return len(self.data)

    def num_steps(self, epoch: int = 0) -> int:
        """Optimizer steps in an epoch; with batch_tokens it differs a little between epochs."""
        if self.batch_tokens is None:
            return -(-len(self.data) // self.batch_size)
        return len(self._epoch(epoch))

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Global batches of an epoch from number `start` on, each cut into micro-batches whose gradients add up."""
        for rows in self._epoch(epoch)[start:]:
            num_parts = min(self.accumulation_steps, -(-len(rows) // self.num_ranks))
            own = shares(rows, self.lengths, self.num_ranks)[self.rank]
            yield [self._collate(part, rows) for part in np.array_split(own, num_parts)]

    def eval_batches(self) -> Iterator[Batch]:
        """Every text once, by one of the processes."""
        batches = ordered_batches(self.lengths, batch_size=self.batch_size, batch_tokens=self.batch_tokens)
        for start in range(0, len(batches), self.num_ranks):
            own = batches[start + self.rank : start + self.rank + 1]
            yield self._collate(own[0] if own else batches[start][:0], batches[start])

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        return epoch_batches(
            self.lengths, batch_size=self.batch_size, batch_tokens=self.batch_tokens, seed=self.seed, epoch=epoch
        )

    def _collate(self, rows: np.ndarray, others: np.ndarray) -> Batch:
        """The rows as a batch; where there are none, the last of the others' as a filler."""
        batch = collate(self.data.fields, self.data.labels, rows if len(rows) else others[-1:])
        return batch if len(rows) else replace(batch, is_filler=True)
