"""Seeding and numeric settings for reproducible runs."""

import hashlib
import os
from typing import Any

import torch


def set_up_torch(num_threads: int, seed: int, *, is_deterministic: bool = False) -> None:
    """Set threads, denormals and seed; call before anything else of torch.

    The gradient of an LSTM's last state decays into denormal numbers, on which a CPU is several times slower: they are flushed
    to zero. Threads inherit that when they are started, so it must precede the first parallel region.
    """
    torch.set_flush_denormal(True)
    torch.sparse.check_sparse_tensor_invariants.disable()  # explicitly, or torch warns; our one sparse tensor is valid
    torch.set_num_threads(num_threads)
    torch.manual_seed(_of_32_bits(seed))
    if is_deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when CUDA starts
        torch.use_deterministic_algorithms(True)


def _of_32_bits(seed: int) -> int:
    """The seed itself below 2**32, else a hash of it: the CPU's generator ignores all bits but 32."""
    if seed < 2**32:
        return seed
    return int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest(), "little")


def separate_seeds(seed: int, rank: int) -> None:
    """Give each rank its own random stream from now on, as its texts differ; rank 0 keeps its stream."""
    if rank:
        torch.manual_seed(hash((seed, rank)) % 2**63)


def rng_state() -> dict[str, Any]:
    """The state of torch's generators, the only ones in use."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore the generators; call last, since building a model draws numbers too."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
