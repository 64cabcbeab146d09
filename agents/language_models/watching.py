"""What is watched while a masked language model trains: its guesses, and whether it has learnt more than frequencies."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from datasets.batches.pretraining import PretrainingBatch
from datasets.tokenizers.vocabulary import Vocabulary

logger = logging.getLogger("glassbox")
COLUMNS = ["sentence, masked tokens as [MASK]", "masked", "guesses"]
NUM_ROWS, WINDOW, TOP = 12, 8, 3  # of the table; tokens around a masked one; guesses
# Measured on WikiText-2 (docs/pretraining.md): healthy runs of several seeds had left the plateau by then.
PLATEAU_TOKENS, LEFT = 4_000_000, 0.3
PAIR_TOKENS, CHANCE = 12_000_000, 0.53
CAUSES = (
    "likely causes, in this order: optimizer.lr too high or too low, no warm-up (scheduler.warmup_steps), batches of too few "
    "tokens, too many masked tokens (objective.mask_share), labels that do not belong to their tokens; see docs/pretraining.md"
)


def guesses(tokenizer: Any, batch: PretrainingBatch, logits: torch.Tensor) -> list[list[str]]:
    """Rows of COLUMNS: the first masked token of each sequence with its surroundings, and the most probable tokens in its place."""
    places, ids = batch.places.tolist(), batch.ids.tolist()
    length, rows, seen = batch.input_ids.shape[1], list[list[str]](), set[int]()
    for number, place in enumerate(places):
        sequence, position = divmod(place, length)
        if sequence in seen or len(rows) == NUM_ROWS:
            continue
        seen.add(sequence)
        around = batch.input_ids[sequence, max(0, position - WINDOW) : position + WINDOW + 1].tolist()
        probabilities, found = logits[number].softmax(dim=-1).topk(TOP)
        words = [f"{tokenizer.token(id)} {p:.2f}" for id, p in zip(found.tolist(), probabilities.tolist(), strict=True)]
        rows.append([" ".join(map(tokenizer.token, around)), tokenizer.token(ids[number]), ", ".join(words)])
    return rows


def unigram_entropy(counts: np.ndarray, vocabulary: Vocabulary) -> float:
    """The loss, in nats, of guessing masked tokens by their frequency in the training documents alone."""
    frequencies = counts[vocabulary.plain_ids].astype(np.float64)
    shares = frequencies[frequencies > 0] / max(1.0, frequencies.sum())
    return float(-(shares * np.log(shares)).sum())


class Plateau:
    """Warns once of a run that stays where all begin: at the frequencies of tokens, at 50% of the pairs, or at one answer."""

    def __init__(self, entropy: float) -> None:
        self.entropy, self.is_told = entropy, False

    def look(self, values: Mapping[str, float], num_tokens: int, guessed: torch.Tensor) -> None:
        """values: of a validation; num_tokens: trained on so far; guessed (M,): the most probable token at some masked places."""
        problem = self.problem(values, num_tokens, guessed)
        if problem and not self.is_told:
            self.is_told = True
            logger.warning("warning: after %s tokens %s; %s", f"{num_tokens:,}", problem, CAUSES)

    def problem(self, values: Mapping[str, float], num_tokens: int, guessed: torch.Tensor) -> str | None:
        """What a run has not learnt that others have by now; None where all is well, or it is too early to tell."""
        if num_tokens >= PLATEAU_TOKENS and len(guessed) > 20 and bool((guessed == guessed[0]).all()):
            return "the model guesses the same token everywhere"
        if num_tokens >= PLATEAU_TOKENS and values["mlm"] > self.entropy - LEFT:
            return f"the loss {values['mlm']:.2f} is still that of guessing by frequency ({self.entropy:.2f})"
        if num_tokens >= PAIR_TOKENS and values.get("pair_accuracy", math.inf) < CHANCE:
            return f"the pairs are told apart by chance ({values['pair_accuracy']:.3f})"
        return None
