"""Order of examples: a pure function of (seed, epoch), so that a resume has no iterator to restore.

Texts of similar length are batched together, since padding costs as much as words: the shuffled texts are divided into pools,
each pool is sorted by length and cut into batches, and the batches are shuffled.
"""

import hashlib

import numpy as np
import torch

POOL = 50  # batches in a pool
JITTER = 0.1  # lengths are jittered by 10%, so that a small data set does not give the same batches every epoch


def epoch_batches(
    lengths: np.ndarray, *, batch_size: int, batch_tokens: int | None, seed: int, epoch: int
) -> list[np.ndarray]:
    """Global batches of an epoch, as arrays of row indices; every text is in exactly one.

    batch_tokens, if given, replaces batch_size: it limits a batch's longest text times its number of texts (a single longer text
    is a batch of its own).
    """
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    order = torch.randperm(len(lengths), generator=generator).numpy()
    blur = 1.0 + JITTER * (2.0 * torch.rand(len(lengths), generator=generator).numpy() - 1.0)
    average = batch_size if batch_tokens is None else batch_tokens * len(lengths) // max(1, int(lengths.sum()))
    pool_size = POOL * max(1, average)
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(lengths[pool] * blur[pool], kind="stable")]
        batches += cut(pool, lengths, batch_size, batch_tokens)
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[i] for i in shuffled]


def ordered_batches(lengths: np.ndarray, *, batch_size: int, batch_tokens: int | None) -> list[np.ndarray]:
    """Evaluation batches: every text once, the longest first, so that memory runs out at once or never."""
    return cut(np.argsort(-lengths, kind="stable"), lengths, batch_size, batch_tokens)


def cut(rows: np.ndarray, lengths: np.ndarray, batch_size: int, batch_tokens: int | None) -> list[np.ndarray]:
    """Cut rows into batches, in order."""
    if batch_tokens is None:
        return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    batches, start, longest = [], 0, 0
    for end, length in enumerate(lengths[rows].tolist()):
        longest = max(longest, length)
        if end > start and longest * (end - start + 1) > batch_tokens:
            batches.append(rows[start:end])
            start, longest = end, length
    return [*batches, rows[start:]] if len(rows) else []


def shares(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Split a global batch, in order, into `size` parts with about equal numbers of tokens, none empty if there are enough rows."""
    tokens = lengths[rows]
    ends = np.searchsorted(np.cumsum(tokens) - tokens / 2, tokens.sum() * np.arange(1, size) / size)
    bounds = [0]
    for part, end in enumerate(ends.tolist(), start=1):
        lowest = min(bounds[-1] + 1, len(rows))
        bounds.append(max(lowest, min(end, len(rows) - (size - part))))
    return np.split(rows, bounds[1:])


def _mix(seed: int, epoch: int) -> int:
    """63-bit hash of both, so that neighbouring seeds and epochs have unrelated orders."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=8).digest(), "little") >> 1
