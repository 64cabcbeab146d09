"""Padded batch of texts and their columns. B: texts, T: tokens of the longest, N: real tokens, W: windows of all texts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from datasets.tokenizers.tokens import Tokens

B = TypeVar("B")


@dataclass(frozen=True)
class TextBatch:
    """Padded batch of texts, on the host until `to`.

    fields: for each field
        input_ids (B, T) int64, and attention_mask (B, T) bool, True at real tokens;
        on any device but the CPU, token_index (N,) int64, positions of the real tokens in the flattened batch (B * T): computed
        on the host, so that a model need not wait for the device to know their number;
        for pairs, token_type_ids (B, T) int64, 0 in the first text and padding, 1 in the second;
        for texts in windows, text_index (W,) int64, the text (0 to B - 1) of each row of the other tensors, which then have W
        rows instead of B, and num_windows (B,) int64, the number of windows of each text.
    columns: other values of the rows, such as "label": (B,) int64 with -100 for ignored rows, or (B, L) float of 0 and 1
    rows, num_tokens, is_filler: see datasets/batches/examples.py
    """

    fields: list[dict[str, Tensor]]
    columns: dict[str, Tensor]
    rows: np.ndarray
    num_tokens: int
    is_filler: bool = False

    def to(self, device: torch.device) -> Self:
        """The batch on the device; copied to CUDA from pinned memory, so that the host need not wait."""
        if device.type == "cpu":
            return self
        indexed = [field | {"token_index": field["attention_mask"].flatten().nonzero()[:, 0]} for field in self.fields]
        fields = [{name: moved(tensor, device) for name, tensor in field.items()} for field in indexed]
        return replace(self, fields=fields, columns={name: moved(t, device) for name, t in self.columns.items()})


def collate(fields: list[Tokens], columns: Mapping[str, np.ndarray], rows: np.ndarray) -> TextBatch:
    """Pad the given rows of every field, and select those of every column; multi-hot labels become float32."""
    padded = [_field(tokens, rows) for tokens in fields]
    chosen = {name: np.asarray(column[rows]) for name, column in columns.items()}
    return TextBatch(
        fields=[{name: torch.from_numpy(array) for name, array in field.items()} for field in padded],
        columns={name: torch.from_numpy(x.astype(np.float32) if x.ndim == 2 else x) for name, x in chosen.items()},
        rows=rows,
        num_tokens=sum(int(field["attention_mask"].sum()) for field in padded),
    )


def _field(tokens: Tokens, rows: np.ndarray) -> dict[str, np.ndarray]:
    """One entry of `TextBatch.fields`."""
    ids, mask = tokens.pad(rows)
    field = {"input_ids": ids, "attention_mask": mask}
    if tokens.second_starts is not None:
        is_second = np.arange(ids.shape[1]) >= tokens.second_starts[rows][:, None]
        field["token_type_ids"] = (is_second & mask).astype(np.int64)
    if tokens.window is not None:
        field["num_windows"] = tokens.num_windows(rows)
        field["text_index"] = np.repeat(np.arange(len(rows)), field["num_windows"])
    return field


def moved_batch(batch: B, device: torch.device) -> B:
    """A batch, a dataclass, with its tensors on the device."""
    tensors = {name: moved(value, device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)  # type: ignore[type-var]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to CUDA by pinned memory, so that the host need not wait for it."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
