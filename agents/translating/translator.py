"""A trained encoder-decoder as a writer of texts: ids in, hypotheses and texts out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from datasets.tokenizers.pair import sides_of
from graphs.generation.beam_search import beam_search
from graphs.generation.options import GenerationOptions, Hypothesis
from graphs.generation.sampling import Watch, generate_rows


class Translator:
    """A model, the tokenizer of its targets, and how they are generated."""

    def __init__(self, model: Any, tokenizer: Any, options: GenerationOptions) -> None:
        _, self.tokenizer = sides_of(tokenizer)
        # The tokens that each target of the training begins and ends with.
        before, after = self.tokenizer.special.single
        self.model, self.start, self.end_id = model, list(before), after[0]
        self.options = self.capped(options)

    def capped(self, options: GenerationOptions) -> GenerationOptions:
        """The options with no more tokens than the model has positions. Raises ValueError where min_length needs more."""
        room = self.model.max_length
        return options if room is None else replace(options, max_length=min(options.max_length, room))

    def hypotheses(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        options: GenerationOptions | None = None,
        *,
        prefix: Sequence[int] = (),
        num_best: int = 1,
        seeds: Sequence[int] = (),
        watch: Watch | None = None,
    ) -> list[list[Hypothesis]]:
        """The num_best targets of each source (B, S), best first; prefix: what each begins with; seeds (B,): of sampling."""
        options = self.capped(options) if options is not None else self.options
        given = (self.model, input_ids, attention_mask, [*self.start, *prefix], self.end_id, options)
        if options.sample:
            rows = generate_rows(*given, num_rows=num_best, seeds=seeds, watch=watch)
            return [sorted(found, key=lambda each: -each.score) for found in rows]
        if options.beam_size == 1:
            return generate_rows(*given, watch=watch)
        found = beam_search(*given)
        if options.with_greedy:
            greedy = generate_rows(*given[:-1], replace(options, beam_size=1))
            found = [_merged(*pair) for pair in zip(found, greedy, strict=True)]
        return [each[:num_best] for each in found]

    @torch.no_grad()
    def texts(
        self, input_ids: Tensor, attention_mask: Tensor, options: GenerationOptions, seeds: Sequence[int] = ()
    ) -> list[str]:
        """The best target of each source."""
        return [self.text_of(best[0].ids) for best in self.hypotheses(input_ids, attention_mask, options, seeds=seeds)]

    def text_of(self, ids: Sequence[int]) -> str:
        """A target as text."""
        return str(self.tokenizer.decode(ids))


def _merged(found: list[Hypothesis], others: list[Hypothesis]) -> list[Hypothesis]:
    """Both, best first, each target once."""
    known = {tuple(each.ids) for each in found}
    return sorted([*found, *(each for each in others if tuple(each.ids) not in known)], key=lambda each: -each.score)


def seeds_of(seed: int, rows: Sequence[int]) -> list[int]:
    """A seed for each text, by its own place among all."""
    return [(seed * 1_000_003 + row) % 2**63 for row in rows]
