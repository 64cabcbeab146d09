"""Long texts: truncation to `max_length`, or windows, with the special tokens around them.

Sun et al. 2019, section 5.2 (https://arxiv.org/abs/1905.05583): of texts over BERT's 510 tokens, head + tail keeps the first 128
and the last 382; windows keep everything, and the model takes the mean of their vectors.
"""

from typing import Any

import numpy as np

from datasets.tokenizers.special_tokens import Ids, SpecialTokens
from datasets.tokenizers.tokens import Tokens

HEAD_SHARE = 4  # a quarter of a truncated text is its head, the rest its tail


def fit(
    tokens: Tokens,
    max_length: int | None,
    long_texts: str = "head",
    stride: int = 0,
    special: tuple[Ids, Ids] = ((), ()),
) -> Tokens:
    """Bare texts -> texts of at most max_length tokens, or windows of that size that overlap by `stride`, with special tokens."""
    if max_length is None:
        return wrap(tokens, *special)
    room = max_length - sum(map(len, special))
    if long_texts == "windows":
        return _windows(tokens, room, stride, max_length, special)
    return wrap(_head_tail(tokens, room) if long_texts == "head_tail" else tokens.cut(room), *special)


def fit_pairs(first: Tokens, second: Tokens, max_length: int | None, special: tuple[Ids, Ids, Ids]) -> Tokens:
    """Bare pairs -> pairs of at most max_length tokens, the longer text of each truncated until both together fit.

    As in the tokenizers library (`longest_first`): of an odd room the longer text gets the odd token, at a tie the second text.
    """
    before, between, after = special
    if max_length is not None:
        lengths = longest_first(first.lengths, second.lengths, max_length - sum(map(len, special)))
        first, second = first.cut(lengths[0]), second.cut(lengths[1])
    first, second = wrap(first, before, between), wrap(second, (), after)
    return _joined(first, second)


def longest_first(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Truncated lengths (N,) of the two texts of pairs: only the longer one is truncated, until both are equal."""
    shorter = np.minimum(np.minimum(first, second), room // 2)  # what the shorter one keeps in any case
    longer = np.minimum(np.maximum(first, second), room - shorter)
    is_first_longer = first > second
    return np.where(is_first_longer, longer, shorter), np.where(is_first_longer, shorter, longer)


def wrap(tokens: Tokens, before: Ids, after: Ids) -> Tokens:
    """Put these ids before and after every text."""
    if not before and not after:
        return tokens
    lengths = tokens.lengths + len(before) + len(after)
    wrapped = Tokens.from_lengths(np.empty(int(lengths.sum()), dtype=np.int32), lengths, tokens.truncated)
    is_text = np.ones(len(wrapped.ids), dtype=bool)
    places = [wrapped.offsets[:-1] + i for i in range(len(before))]
    places += [wrapped.offsets[1:] - len(after) + i for i in range(len(after))]
    for place, id in zip(places, (*before, *after), strict=True):
        wrapped.ids[place] = id
        is_text[place] = False
    wrapped.ids[is_text] = tokens.ids
    return wrapped


def check_fits(tokenizer: Any, *, pair: bool, max_length: int | None, long_texts: str, stride: int) -> None:
    """Raise ValueError if a tokenizer does not support these data options."""
    special: SpecialTokens | None = tokenizer.special
    if special is None:  # it comes with the weights, and is checked once they are loaded
        return
    if pair and not special.pair[1]:
        raise ValueError(
            "pair: true needs a tokenizer that marks where the second text begins, such as "
            "tokenizer: {name: wordpiece, special_tokens: true}"
        )
    if long_texts == "windows" and getattr(tokenizer, "ngrams", 1) > 1:
        raise ValueError("long_texts: windows does not go with n-grams; set tokenizer.ngrams: 1, or long_texts: head")
    num_special = special.num(is_pair=pair)
    smallest = num_special + (2 if pair else 1)
    if max_length is not None and max_length < smallest:
        raise ValueError(
            f"max_length must be at least {smallest} ({num_special} special tokens and a token per text), got {max_length}"
        )
    if max_length is not None and stride >= max_length - num_special:
        raise ValueError(
            f"stride must be less than the {max_length - num_special} tokens of the text in a window, got {stride}"
        )


def _head_tail(tokens: Tokens, room: int) -> Tokens:
    """Truncate longer texts: a quarter of the room from the beginning, the rest from the end."""
    lengths, head = tokens.lengths, -(-room // HEAD_SHARE)
    if lengths.max(initial=0) <= room:
        return tokens
    places = np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], lengths)  # of each token in its text
    is_kept = (places < head) | (places >= np.repeat(np.maximum(lengths - (room - head), head), lengths))
    is_kept |= np.repeat(lengths <= room, lengths)
    return Tokens.from_lengths(
        tokens.ids[is_kept], np.minimum(lengths, room), np.asarray(tokens.truncated | (lengths > room))
    )


def _windows(tokens: Tokens, room: int, stride: int, max_length: int, special: tuple[Ids, Ids]) -> Tokens:
    """Each text as consecutive windows, all but the last full, so that a batch can recover them by counting."""
    lengths, step = tokens.lengths, room - stride
    counts = 1 + np.maximum(0, -(-(lengths - room) // step))
    last = np.concatenate([[0], np.cumsum(counts)])
    places = np.arange(last[-1]) - np.repeat(last[:-1], counts)  # of each window in its text
    starts = np.repeat(tokens.offsets[:-1], counts) + step * places
    sizes = np.minimum(room, np.repeat(tokens.offsets[1:], counts) - starts)
    skipped = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)  # from a token's new position to its old one
    windows = Tokens.from_lengths(
        tokens.ids[np.arange(len(skipped)) + skipped], sizes, np.zeros(len(sizes), dtype=bool)
    )
    wrapped = wrap(windows, *special)
    return Tokens(wrapped.ids, wrapped.offsets[last], tokens.truncated, window=max_length)


def _joined(first: Tokens, second: Tokens) -> Tokens:
    """Concatenate the two texts of each pair."""
    texts = np.concatenate([np.repeat(np.arange(len(part)), part.lengths) for part in (first, second)])
    ids = np.concatenate([first.ids, second.ids])[np.argsort(texts, kind="stable")]
    pairs = Tokens.from_lengths(ids, first.lengths + second.lengths, first.truncated | second.truncated)
    return Tokens(pairs.ids, pairs.offsets, pairs.truncated, second_starts=first.lengths.astype(np.int32))
