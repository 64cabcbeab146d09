"""Which tokens of a sequence are masked, and what stands in their place: the masked language model's task (Devlin et al. 2019).

B: sequences, T: tokens. Everything is a pure function of (seed, epoch, row, place), so that the masks are the same on any number of
processes and after any resume.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from datasets.hashing import draw, mix

MaskUnit = Literal["token", "word", "span"]
SPAN = 3  # tokens of the longest span
_UNIT, _CHOICE, _WITH, _ID, _LENGTH, _LAST = mix(np.arange(1, 7, dtype=np.uint64))  # what a random number is for


class Masked(NamedTuple):
    """input_ids (B, T) with some tokens masked; is_masked (B, T): which."""

    input_ids: np.ndarray
    is_masked: np.ndarray


@dataclass(frozen=True)
class MaskShare:
    """The share of the tokens that is masked: fixed, or falling (or rising) in a straight line from the first step to the last."""

    start: float
    end: float

    @property
    def is_falling(self) -> bool:
        """Whether it depends on the step."""
        return self.start != self.end

    def at(self, step: int, total_steps: int) -> float:
        """The share at a step."""
        return self.start + (self.end - self.start) * min(1.0, step / max(1, total_steps - 1))


@dataclass(frozen=True)
class Masking:
    """The rule. Of the masked tokens the share `mask` becomes mask_id, the share `random` one of random_ids, the rest stays.

    starts_word (V,): whether a token begins a word; unit: what is masked as one: a token, a word, or a span of 1 to 3 tokens.
    """

    mask_id: int
    random_ids: np.ndarray
    starts_word: np.ndarray
    unit: MaskUnit
    mask: float
    random: float

    @cached_property
    def is_plain(self) -> np.ndarray:
        """(V,) bool: whether a token may be masked: no special one, and no [UNK], whose text nobody knows."""
        found = np.zeros(len(self.starts_word), dtype=bool)
        found[self.random_ids] = True
        return found

    def apply(self, ids: np.ndarray, maskable: np.ndarray, noise: np.ndarray, share: float) -> Masked:
        """Mask round(share * n) of the n tokens of each sequence that may be masked, of longer units on average; at least one unit.

        ids, maskable: (B, T); noise (B, T) uint64: uniform, which decides everything.
        """
        first = self.first_of_unit(ids, maskable, noise)
        chosen = choose_units(first, maskable, noise, share)
        return self.replace(ids, chosen, noise)

    def apply_evenly(
        self, ids: np.ndarray, maskable: np.ndarray, noise: np.ndarray, turn: int, num_turns: int
    ) -> Masked:
        """Mask the units whose turn it is, at least one of each sequence: in num_turns turns with the same noise each has one."""
        first = self.first_of_unit(ids, maskable, noise)
        turns = _of_first(mix(noise ^ _CHOICE), first) % np.uint64(num_turns)
        chosen, one = maskable & (turns == turn), choose_units(first, maskable, noise, 0.0)
        chosen = np.where(chosen.any(axis=1, keepdims=True), chosen, one)
        return self.replace(ids, chosen, mix(noise + np.uint64(turn)))

    def first_of_unit(self, ids: np.ndarray, maskable: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(B, T) the place of the first token of the unit that each token belongs to."""
        places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        if self.unit == "token":
            return places
        is_start = self.starts_word[ids] if self.unit == "word" else _span_starts(mix(noise ^ _LENGTH))
        is_start = is_start | ~maskable
        is_start[:, 1:] |= ~maskable[:, :-1]
        is_start[:, 0] = True
        return np.maximum.accumulate(np.where(is_start, places, 0), axis=1)

    def replace(self, ids: np.ndarray, chosen: np.ndarray, noise: np.ndarray) -> Masked:
        """Put [MASK], a random token or the token itself in place of the chosen ones."""
        way = _uniform(mix(noise ^ _WITH))
        others = self.random_ids[mix(noise ^ _ID) % np.uint64(len(self.random_ids))]
        replaced = np.where(way < self.mask, self.mask_id, np.where(way < self.mask + self.random, others, ids))
        return Masked(np.where(chosen, replaced, ids), chosen)


def noise_of(seed: int, epoch: int, rows: np.ndarray, length: int) -> np.ndarray:
    """(B,) rows -> (B, length) uint64, uniform: the random numbers of each token of a row in an epoch."""
    return mix(draw(seed, epoch, rows)[:, None] + np.arange(length, dtype=np.uint64))


def choose_units(first: np.ndarray, maskable: np.ndarray, noise: np.ndarray, share: float) -> np.ndarray:
    """(B, T) bool: units in random order, as long as they fit into round(share * n) tokens; the first one in any case.

    The unit that is too long for what is left is chosen with the probability left / size. So as many tokens are masked on average
    as with units of one token, and long units hardly more rarely than short ones.
    """
    size, length = first.shape
    keys = _of_first(mix(noise ^ _UNIT), first)
    order = np.argsort(np.where(maskable, keys, np.uint64(2**64 - 1)), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(length), first.shape), axis=1)
    budget = np.maximum(1, np.rint(share * maskable.sum(axis=1))).astype(np.int64)[:, None]
    flat = (np.arange(size)[:, None] * length + first)[maskable]
    num_tokens = np.bincount(flat, minlength=size * length).reshape(size, length)  # of the unit that begins there
    begins = np.take_along_axis(rank, first, axis=1)  # tokens masked before this unit
    own = np.take_along_axis(num_tokens, first, axis=1)
    fits = _uniform(_of_first(mix(noise ^ _LAST), first)) * own < budget - begins
    return maskable & (fits | (begins + own <= budget) | (begins == 0))


def _of_first(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, first, axis=1)


def _span_starts(noise: np.ndarray) -> np.ndarray:
    """(B, T) bool: where spans begin whose lengths are 1 to SPAN with equal probability, one behind the other."""
    lengths = 1 + (noise % np.uint64(SPAN)).astype(np.int64)  # of a span, should one begin here
    is_start = np.zeros(noise.shape, dtype=bool)
    following = np.zeros(len(noise), dtype=np.int64)
    for place in range(noise.shape[1]):
        here = following == place
        is_start[here, place] = True
        following[here] += lengths[here, place]
    return is_start


def _uniform(noise: np.ndarray) -> np.ndarray:
    """uint64 -> [0, 1)."""
    return (noise >> np.uint64(11)).astype(np.float64) * 2.0**-53
