"""Stateless random numbers: pure functions of their keys, with no generator state to save or restore."""

import numpy as np


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): (...) uint64 -> (...); flipping an input bit flips half of the output bits."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def draw(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """(N,) row indices -> (N,) uniform uint64; a row's number does not depend on its batch or on the number of ranks."""
    keys = mix(np.array([seed, epoch], dtype=np.int64).view(np.uint64))
    return mix(rows.astype(np.uint64) ^ mix(keys[:1] ^ (keys[1:] << np.uint64(1))))
