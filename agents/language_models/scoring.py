"""Scores of a masked language model: the tokens that fill a gap, and a sentence's pseudo-log-likelihood. M: masked tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.batches.order import cut
from datasets.batches.pretraining import PretrainingBatch, batch_of
from datasets.tokenizers.processes import chunked
from datasets.tokenizers.vocabulary import Vocabulary, is_byte_level
from utils.errors import ConfigError, DataError

BATCH_TOKENS = 8192


class Scorer:
    """A masked language model in evaluation, and its tokenizer."""

    def __init__(self, model: torch.nn.Module, tokenizer: Any, max_length: int | None, device: torch.device) -> None:
        self.model, self.tokenizer, self.device = model.eval(), tokenizer, device
        self.vocabulary, self.max_length = Vocabulary.of(tokenizer), max_length
        self.mask = tokenizer.token(self.vocabulary.mask_id)  # as a text writes it

    def fill(self, text: str, top: int = 5) -> list[list[dict[str, Any]]]:
        """The most probable tokens for each gap of a text, with their probabilities. Raises ConfigError where there is no gap."""
        if self.mask not in text:
            raise ConfigError(f"command line: the text holds no {self.mask}, the gap to fill: {text[:80]!r}")
        sequence, gaps = self._with_gaps(text)
        batch = batch_of([sequence] * len(gaps), gaps, self.vocabulary.mask_id)
        probabilities = self._logits(batch).softmax(dim=-1)
        values, found = probabilities.topk(min(top, probabilities.shape[1]), dim=-1)
        return [
            [{"token": self.text_of(id), "probability": value} for id, value in zip(own, shares, strict=True)]
            for own, shares in zip(found.tolist(), values.tolist(), strict=True)
        ]

    def example(self, text: str, answer: str | None = None) -> tuple[PretrainingBatch, bool]:
        """The text with its first gap, or where it has none with its middle token masked; answer: the token in the gap.

        -> a batch of one, and whether the token is known. Raises ConfigError for an answer that is not one token.
        """
        ids, gaps = self._with_gaps(text)
        place = gaps[0] if gaps else len(ids) // 2
        if answer is not None:
            found = self.tokenizer.bare([answer], may_be_empty=True).ids.tolist()
            if len(found) != 1 or found[0] == self.tokenizer.unknown_id:
                raise ConfigError(f"command line: the answer must be one token of the vocabulary, got {answer!r}")
            ids[place] = found[0]
        return batch_of([ids], [place], self.vocabulary.mask_id), answer is not None or not gaps

    def _with_gaps(self, text: str) -> tuple[list[int], list[int]]:
        """The text's tokens with special ones, and the places of its gaps."""
        parts = text.split(self.mask)
        if len(parts) > 1 and is_byte_level(
            self.tokenizer
        ):  # whose tokens begin with the space that would end the part before
            parts = [*(part.rstrip(" ") for part in parts[:-1]), parts[-1]]
        pieces = [self.tokenizer.bare([part], may_be_empty=True).ids.tolist() for part in parts]
        ids, gaps = list(pieces[0]), list[int]()
        for piece in pieces[1:]:
            gaps.append(1 + len(ids))
            ids += [self.vocabulary.mask_id, *piece]
        return self._framed(ids, text), gaps

    def text_of(self, id: int) -> str:
        """A token as a reader knows it: ## goes on with a word, and a space before it is not shown."""
        token = str(self.tokenizer.token(id))
        if not is_byte_level(self.tokenizer):
            return token
        text = str(self.tokenizer.decode([id])).strip()
        is_whole = bool(text) and "\ufffd" not in text  # no special token, white space or part of a character
        return text if is_whole else token

    def log_likelihoods(self, texts: Iterable[str]) -> Iterator[float]:
        """The pseudo-log-likelihood of each text, in nats (Salazar et al. 2020, eq. 2): of its tokens, each masked alone."""
        for chunk in chunked(texts, 256):
            sequences = [
                self._framed(self.tokenizer.bare([text], may_be_empty=True).ids.tolist(), text) for text in chunk
            ]
            jobs = [(number, place) for number, ids in enumerate(sequences) for place in range(1, len(ids) - 1)]
            jobs.sort(key=lambda job: len(sequences[job[0]]))
            totals = [0.0] * len(chunk)
            lengths = np.array([len(sequences[number]) for number, _ in jobs])
            for rows in cut(np.arange(len(jobs)), lengths, 0, BATCH_TOKENS):
                part = [jobs[row] for row in rows]
                batch = batch_of(
                    [sequences[number] for number, _ in part], [place for _, place in part], self.vocabulary.mask_id
                )
                scores = self._logits(batch).log_softmax(dim=-1).gather(1, batch.ids.to(self.device)[:, None])[:, 0]
                for (number, _), score in zip(part, scores.tolist(), strict=True):
                    totals[number] += score
            yield from totals

    def check(self, text: str, place: str) -> None:
        """Raise DataError for a text that cannot be scored; place: where it stands."""
        try:
            self._framed(self.tokenizer.bare([text], may_be_empty=True).ids.tolist(), text)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None

    @torch.no_grad()
    def _logits(self, batch: PretrainingBatch) -> Tensor:
        """(M, V), float32, one masked token for each sequence."""
        tokens: Tensor = self.model(batch.to(self.device))[0]
        return tokens.float()

    def _framed(self, ids: Sequence[int], text: str) -> list[int]:
        cls, sep, _ = self.vocabulary.special
        if not ids:
            raise DataError(f"a text without a token: {text[:80]!r}")
        if self.max_length is not None and len(ids) + 2 > self.max_length:
            raise DataError(
                f"a text of {len(ids) + 2} tokens is longer than the model's {self.max_length}: {text[:80]!r}"
            )
        return [cls, *ids, sep]
