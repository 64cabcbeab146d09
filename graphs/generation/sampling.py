"""One token after the other: the most probable one (greedy search), or one that is drawn (sampling).

B: texts still generated, K: rows of a text, V: vocabulary, t: tokens so far.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from graphs.generation.constraints import constrained
from graphs.generation.options import GenerationOptions, Hypothesis

Watch = Callable[[list[int]], None]  # gets the newest token of each text that is still generated


@torch.inference_mode()
def generate_rows(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    start: list[int],
    end_id: int,
    options: GenerationOptions,
    *,
    num_rows: int = 1,
    seeds: Sequence[int] = (),
    watch: Watch | None = None,
) -> list[list[Hypothesis]]:
    """K = num_rows targets of each source (B, S); start: see `beam_search`.

    seeds (B,): of sampling, so that what is drawn for a text does not depend on the others of its batch.
    """
    num_texts, device, room = len(input_ids), input_ids.device, options.max_length - len(start) + 1
    generation, last, ids = begun(model, input_ids, attention_mask, num_rows, start)
    totals, lengths = torch.zeros(num_texts, num_rows, device=device), torch.zeros_like(last)
    is_open = torch.ones_like(last, dtype=torch.bool)
    drawn = _uniform(seeds, num_rows, room).to(device) if options.sample else totals.new_empty(num_texts, num_rows, 0)
    found: list[list[Hypothesis]] = [[] for _ in range(num_texts)]
    texts = list(range(num_texts))
    for step in range(room):
        log_probs = model.step(last, generation).float().log_softmax(dim=-1)
        log_probs = constrained(log_probs, ids, end_id, options)
        last = drawn_tokens(log_probs, drawn[:, :, step], options) if options.sample else log_probs.argmax(dim=-1)
        totals += log_probs.gather(2, last[:, :, None])[:, :, 0] * is_open
        lengths += is_open
        ids = torch.cat([ids, last[:, :, None]], dim=2)
        if watch is not None:
            watch(last[:, 0].tolist())
        is_open = is_open & (last != end_id)
        is_left = is_open.any(dim=1) & (step < room - 1)
        done = (~is_left).nonzero()[:, 0].tolist()
        for text in done:
            rows = zip(
                ids[text, :, len(start) - 1 :].tolist(), totals[text].tolist(), lengths[text].tolist(), strict=True
            )
            found[texts[text]] = [Hypothesis.of(row[:n], total, end_id, options.exponent) for row, total, n in rows]
        if len(done) == len(texts):
            break
        if done:
            kept = is_left.nonzero()[:, 0]
            last, ids, totals, lengths, is_open = (
                x.index_select(0, kept) for x in (last, ids, totals, lengths, is_open)
            )
            drawn, texts = drawn.index_select(0, kept), [texts[i] for i in kept.tolist()]
            generation.keep(kept, torch.arange(num_rows, device=device).expand(len(kept), -1))
    return found


def begun(
    model: Any, input_ids: Tensor, attention_mask: Tensor, num_rows: int, start: list[int]
) -> tuple[Any, Tensor, Tensor]:
    """A generation that has read `start` up to its last token: its state, that token (B, K), and the prefix (B, K, t)."""
    generation = model.begin(input_ids, attention_mask, num_rows)
    shape, device = (len(input_ids), num_rows), input_ids.device
    for token in start[:-1]:
        model.step(torch.full(shape, token, device=device), generation)
    last = torch.full(shape, start[-1], device=device)
    return generation, last, last.new_tensor(start[1:]).expand(*shape, -1)


def _uniform(seeds: Sequence[int], num_rows: int, length: int) -> Tensor:
    """(B, K, length) numbers between 0 and 1, of which each text has its own."""
    return torch.stack([torch.rand(num_rows, length, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def drawn_tokens(log_probs: Tensor, drawn: Tensor, options: GenerationOptions) -> Tensor:
    """(B, K, V), and a number between 0 and 1 for each row (B, K) -> (B, K), the token at that place of the distribution.

    The distribution is that of the temperature, cut to the top_k most probable tokens, and then to the fewest that have top_p.
    """
    values, tokens = (log_probs / options.temperature).sort(dim=-1, descending=True)
    if options.top_k is not None:
        values, tokens = values[..., : options.top_k], tokens[..., : options.top_k]
    shares = values.softmax(dim=-1)
    is_within = shares.cumsum(dim=-1) - shares < options.top_p  # the first one always is
    shares = shares * is_within
    ends = shares.cumsum(dim=-1)
    places = torch.searchsorted(ends, drawn[..., None] * ends[..., -1:], right=True)
    last = is_within.sum(dim=-1, keepdim=True) - 1
    return tokens.gather(-1, torch.minimum(places, last))[..., 0]
