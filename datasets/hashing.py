"""Random numbers that are pure functions of what they belong to, so that nothing of them has to be saved or restored."""

import numpy as np


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): (...) uint64 -> (...); every bit of the input changes half of the output's."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def draw(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """(N,) row numbers -> (N,) uint64, uniform: the same for a row in every batch and on any number of processes."""
    keys = mix(np.array([seed, epoch], dtype=np.int64).view(np.uint64))
    return mix(rows.astype(np.uint64) ^ mix(keys[:1] ^ (keys[1:] << np.uint64(1))))
