"""Beam search: the K best targets so far are each continued by one token, and of all continuations the K best are kept.

B: texts still searched, K: beam size, V: vocabulary, t: tokens so far.

Ranked by log P(y | x) / |y|^length_penalty, as in transformers, whose results these are (tests/graphs/generation): of the 2 K best
continuations those that end among the first K are complete, and the K best of the others go on. A text is done once it has K
complete targets and the best open one, divided by its present length, is no better than the worst of them.
"""

from typing import Any

import torch
from torch import Tensor

from graphs.generation.constraints import constrained
from graphs.generation.options import GenerationOptions, Hypothesis, score_of
from graphs.generation.sampling import begun

NEVER = -1e9  # the score of rows that do not exist yet
BLOCK = 64  # tokens of which the best is found first


@torch.inference_mode()
def beam_search(
    model: Any, input_ids: Tensor, attention_mask: Tensor, start: list[int], end_id: int, options: GenerationOptions
) -> list[list[Hypothesis]]:
    """The K best targets of each source (B, S), best first.

    start: the token that every target begins with, and then its prefix, which counts in max_length but not in its score
    """
    num_texts, num_beams, device = len(input_ids), options.beam_size, input_ids.device
    complete: list[list[Hypothesis]] = [[] for _ in range(num_texts)]
    generation, last, ids = begun(model, input_ids, attention_mask, num_beams, start)
    prefix_length = ids.shape[2]
    totals = torch.full((num_texts, num_beams), NEVER, device=device)  # log-probabilities
    totals[:, 0] = 0.0  # all rows are the same still
    searched = list(range(num_texts))  # the texts that the rows belong to
    most = options.max_length - prefix_length
    for length in range(1, most + 1):
        log_probs = model.step(last, generation).float().log_softmax(dim=-1)
        found, parents, tokens = best_of(totals, constrained(log_probs, ids, end_id, options), 2 * num_beams)
        ids = torch.cat([ids.gather(1, parents[:, :, None].expand(-1, -1, ids.shape[2])), tokens[:, :, None]], dim=2)
        is_end = tokens == end_id
        for text, beam in (is_end[:, :num_beams] | (length == most)).nonzero().tolist():
            generated, total = ids[text, beam, prefix_length:].tolist(), float(found[text, beam])
            complete[searched[text]].append(Hypothesis.of(generated, total, end_id, options.exponent))
        for text in searched:
            complete[text] = sorted(complete[text], key=lambda each: -each.score)[:num_beams]
        # The first ones that do not end: they are in the order of their totals.
        going_on = is_end.to(torch.int8).sort(dim=1, stable=True).indices[:, :num_beams]
        totals, parents, last = (each.gather(1, going_on) for each in (found, parents, tokens))
        ids = ids.gather(1, going_on[:, :, None].expand(-1, -1, ids.shape[2]))
        bests = totals[:, 0].tolist()
        open_ = [i for i, text in enumerate(searched) if not _is_done(complete[text], bests[i], length, options)]
        if not open_:
            break
        texts = torch.tensor(open_, device=device)
        if len(open_) < len(searched):
            totals, parents, last, ids = (each.index_select(0, texts) for each in (totals, parents, last, ids))
            searched = [searched[i] for i in open_]
        generation.keep(texts, parents)
    return complete


def _is_done(complete: list[Hypothesis], best_open: float, length: int, options: GenerationOptions) -> bool:
    """Whether the search for a text's targets ends, given the log-probability of its best open one."""
    if len(complete) < options.beam_size:
        return False
    return options.early_stop or score_of(best_open, length, options.exponent) <= complete[-1].score


def best_of(totals: Tensor, log_probs: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of a text's rows: totals (B, K), log_probs (B, K, V) -> totals, rows and tokens, each (B, num)."""
    values, tokens = top(
        log_probs, min(num, log_probs.shape[2])
    )  # of each row: no more of one row can be among the best of all
    values = (values + totals[:, :, None]).flatten(1)
    found, places = values.topk(num, dim=1)
    return found, places // tokens.shape[2], tokens.flatten(1).gather(1, places)


def top(values: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The largest of (..., V) in descending order, and their places, each (..., num), as `topk` gives them.

    The largest are in those blocks whose own largest are the largest: looking at these alone is 4 times as fast on a CPU.
    """
    size = values.shape[-1]
    if size < 4 * num * BLOCK:
        found = values.topk(num, dim=-1)
        return found.values, found.indices
    whole = size - size % BLOCK
    blocks = values[..., :whole].unflatten(-1, (-1, BLOCK))
    chosen = blocks.amax(dim=-1).topk(num, dim=-1).indices  # (..., num)
    places = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=values.device)).flatten(-2)
    rest = torch.arange(whole, size, device=values.device).expand(*values.shape[:-1], -1)
    places = torch.cat([places, rest], dim=-1)
    found = values.gather(-1, places).topk(num, dim=-1)
    return found.values, places.gather(-1, found.indices)
