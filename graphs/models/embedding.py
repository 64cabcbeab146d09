"""The embedding table that every encoder begins with, and the bag of a text's embeddings with a gradient of its rows alone.

B: texts, T: tokens, E: embedding size, V: vocabulary size, N: real tokens of the batch, R: distinct ids among them.
"""

from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

PAD_ID = 0


class Embedding(nn.Embedding):
    """A table (V, E) of word vectors; padding is zero and stays so."""

    def __init__(self, vocab_size: int, embedding_size: int, *, sparse: bool = False, scale: float = 0.1) -> None:
        super().__init__(vocab_size, embedding_size, padding_idx=PAD_ID, sparse=sparse)
        nn.init.uniform_(self.weight, -scale, scale)
        with torch.no_grad():
            self.weight[PAD_ID] = 0.0

    def set_vectors(self, rows: Tensor, vectors: Tensor, *, freeze: bool) -> None:
        """Put pre-trained vectors (N, E) into the rows (N,) of the table; freeze keeps training from changing the table."""
        with torch.no_grad():
            self.weight[rows] = vectors
        self.weight.requires_grad_(not freeze)


class BagSum(torch.autograd.Function):
    """The sum of each text's word vectors on a CPU, with a coalesced sparse gradient of the batch's distinct rows.

    A bag of words is a sparse matrix (B, R) of counts; forward and backward are products with it and its transpose. That costs
    0.5 ms where EmbeddingBag's sparse gradient, once coalesced, costs 8 (47,616 ids in 512 texts).
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
        """weight (V, E), ids (N,) of all texts one after the other, offsets (B + 1,) where each begins -> (B, E)."""
        ctx.ids, ctx.offsets, ctx.shape = ids, offsets, weight.shape
        return nn.functional.embedding_bag(ids, weight, offsets, mode="sum", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """(B, E) -> the sparse gradient (V, E) with R rows."""
        ids, offsets = ctx.ids.numpy(), ctx.offsets.numpy()
        is_used = np.zeros(ctx.shape[0], dtype=bool)
        is_used[ids] = True
        rows = np.flatnonzero(is_used)
        local = np.empty(ctx.shape[0], dtype=np.int32)
        local[rows] = np.arange(len(rows), dtype=np.int32)
        shape = (len(rows), len(offsets) - 1)
        bags = scipy.sparse.csc_array(
            (np.ones(len(ids), np.float32), local[ids], offsets.astype(np.int32)), shape=shape
        )
        values = torch.from_numpy(bags @ gradients[0].numpy())  # (R, E)
        gradient = torch.sparse_coo_tensor(
            torch.from_numpy(rows)[None], values, tuple(ctx.shape), is_coalesced=True, check_invariants=False
        )
        return gradient, None, None


def bag_sum(embedding: Embedding, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T) ids and mask -> (B, E) sums over the real tokens; one sparse gradient where the table asks for it."""
    if not embedding.sparse or input_ids.device.type != "cpu":
        return (embedding(input_ids) * attention_mask[:, :, None]).sum(dim=1)
    lengths = attention_mask.sum(dim=1)
    offsets = nn.functional.pad(lengths.cumsum(0), (1, 0))  # (B + 1,)
    result: Tensor = BagSum.apply(embedding.weight, input_ids[attention_mask], offsets)
    return result
