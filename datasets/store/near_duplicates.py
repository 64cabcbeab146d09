"""Near-duplicate check: validation and test texts that one training text contains almost whole.

A sample of the texts is cut into runs of five tokens, which are searched in the training texts at little time and memory.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from datasets.tokenizers.tokens import Tokens

RUN, MIN_RUNS, MAX_RUNS = 5, 4, 16  # tokens per run, and runs per text: shorter texts share runs by chance
NEAR, MIN_SHARE = 0.8, 0.2  # fractions: of a text's runs in one training text, and of a split's texts (SMS spam: 0.07)
SAMPLE, MIN_TEXTS = 400, 50  # texts per split; fewer are no evidence
BLOCK, MAX_TOKENS = 2**17, 2**25  # tokens at a time, and in total: of a longer training split, every second, ... block
MAX_FOUND = 100  # matches recorded per run
BITS = 20  # of a run's hash, to discard most runs early


def describe_near_duplicates(splits: Mapping[str, Tokens], train: Tokens, skipped_ids: Sequence[int]) -> list[str]:
    """A warning for each split with many near-duplicates; skipped_ids: unknown and special tokens, which are in no run."""
    samples = {split: _sample(texts, skipped_ids) for split, texts in splits.items()}
    runs = [codes for sample in samples.values() if len(sample) >= MIN_TEXTS for codes in sample]
    shares = _shares_in_one(runs, train) if runs and len(train.ids) else np.zeros(0)
    lines = []
    for split, sample in samples.items():
        own, shares = np.split(shares, [len(sample) if len(sample) >= MIN_TEXTS else 0])
        if len(own) and (share := float((own >= NEAR).mean())) >= MIN_SHARE:
            lines.append(
                f"{100 * share:.0f}% of the longer texts of {split} appear almost whole in a text of train, as phrases of one "
                "sentence do: its score says little about new texts"
            )
    return lines


def _sample(texts: Tokens, skipped_ids: Sequence[int]) -> list[np.ndarray]:
    """The distinct run hashes of each text in a sample."""
    found = []
    for row in np.unique(np.linspace(0, len(texts) - 1, SAMPLE).astype(int)) if len(texts) else []:
        ids = np.asarray(texts.text(row))
        is_token = ~np.isin(ids, skipped_ids)
        codes = np.unique(_codes(ids)[np.convolve(is_token, np.ones(RUN), "valid") == RUN] if len(ids) >= RUN else [])
        if len(codes) >= MIN_RUNS:
            found.append(codes[np.unique(np.linspace(0, len(codes) - 1, MAX_RUNS).astype(int))])
    return found


def _codes(ids: np.ndarray) -> np.ndarray:
    """(T,) token ids -> (T - RUN + 1,) uint32, a hash of each run of RUN tokens."""
    codes = np.zeros(max(len(ids) - RUN + 1, 0), dtype=np.uint32)
    ids = ids.astype(np.uint32)
    for i in range(RUN):
        codes *= np.uint32(0x01000193)
        codes += ids[i : i + len(codes)] * np.uint32(0x9E3779B1)
    codes ^= codes >> np.uint32(15)
    return codes * np.uint32(0x85EBCA6B)


def _shares_in_one(runs: list[np.ndarray], train: Tokens) -> np.ndarray:
    """(N,) the largest fraction of each text's runs that one training text contains."""
    lengths = np.array(list(map(len, runs)))
    owners, codes = np.repeat(np.arange(len(runs)), lengths), np.concatenate(runs)
    order = np.argsort(codes, kind="stable")
    known, first, counts = np.unique(codes[order], return_index=True, return_counts=True)
    places, found = _find(train, known)
    holders = np.searchsorted(train.offsets, places, side="right")
    is_inside = places + RUN <= train.offsets[holders]
    holders, found = holders[is_inside], found[is_inside]
    # Each match is paired with every text that has the run.
    each = np.repeat(np.arange(len(found)), counts[found])
    starts = np.repeat(np.cumsum(counts[found]) - counts[found], counts[found])
    sharing = owners[order][first[found[each]] + np.arange(len(each)) - starts]
    # Each run counts once, even if it occurs twice in a text.
    shared = np.unique((sharing * (len(train) + 1) + holders[each]) * len(known) + found[each])
    pairs, num_shared = np.unique(shared // len(known), return_counts=True)
    most = np.zeros(len(runs))
    np.maximum.at(most, pairs // (len(train) + 1), num_shared)
    return most / lengths


def _find(train: Tokens, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(position in the training tokens, index in the sorted `known`) of each match."""
    is_possible = np.zeros(2**BITS, dtype=bool)
    is_possible[known >> np.uint32(32 - BITS)] = True
    places, found = [], []
    num_found = np.zeros(len(known), dtype=np.int64)
    step = BLOCK * -(-len(train.ids) // MAX_TOKENS)
    for start in range(0, len(train.ids), step):
        codes = _codes(np.asarray(train.ids[start : start + BLOCK + RUN - 1]))
        possible = np.flatnonzero(is_possible[codes >> np.uint32(32 - BITS)])
        index = np.minimum(np.searchsorted(known, codes[possible]), len(known) - 1)
        is_there = (known[index] == codes[possible]) & (num_found[index] < MAX_FOUND)
        places.append(start + possible[is_there])
        found.append(index[is_there])
        num_found += np.bincount(found[-1], minlength=len(known))
    return np.concatenate(places), np.concatenate(found)
