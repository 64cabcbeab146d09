"""A trained encoder-decoder as a writer of texts: ids in, hypotheses and texts out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from datasets.tokenizers.pair import sides_of
from datasets.tokenizers.vocabulary import Vocabulary
from graphs.generation.beam_search import beam_search
from graphs.generation.options import GenerationOptions, Hypothesis
from graphs.generation.sampling import Watch, generate_rows


class Translator:
    """A model, the tokenizer of its targets, and how they are generated."""

    def __init__(self, model: Any, tokenizer: Any, options: GenerationOptions) -> None:
        _, self.tokenizer = sides_of(tokenizer)
        begin, end, _ = Vocabulary.of(self.tokenizer).special
        self.model, self.start, self.end_id = model, [begin], end
        room = model.max_length  # of positions, one of which is that of the beginning
        self.options = options if room is None else replace(options, max_length=min(options.max_length, room))

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
        """The num_best targets of each source (B, S), best first; prefix: the ids that each begins with."""
        options = options or self.options
        given = (self.model, input_ids, attention_mask, [*self.start, *prefix], self.end_id, options)
        if options.sample:
            return [
                sorted(found, key=lambda each: -each.score)
                for found in generate_rows(*given, num_rows=num_best, seeds=seeds, watch=watch)
            ]
        found = generate_rows(*given, watch=watch) if options.beam_size == 1 else beam_search(*given)
        return [each[:num_best] for each in found]

    @torch.no_grad()
    def texts(self, input_ids: Tensor, attention_mask: Tensor, options: GenerationOptions | None = None) -> list[str]:
        """The best target of each source."""
        return [self.text_of(best[0].ids) for best in self.hypotheses(input_ids, attention_mask, options)]

    def text_of(self, ids: Sequence[int]) -> str:
        """A target as text."""
        return str(self.tokenizer.decode(ids))
