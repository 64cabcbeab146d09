"""Batches of text pairs: what an encoder-decoder is trained on (teacher forcing).

B: pairs, S and T: tokens of the longest source and target, M and N: their real tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from datasets.batches.bpe_dropout import BPEDropout
from datasets.batches.examples import EVALUATION
from datasets.batches.text_batch import moved_batch
from datasets.tokenizers.tokens import Tokens


@dataclass(frozen=True)
class PairBatch:
    """Sources and targets.

    input_ids (B, S) int64, attention_mask (B, S) bool, token_index (M,): the real source tokens' places in the B * S;
    target_ids (B, T), target_mask (B, T), target_index (N,): the same of what the decoder reads, which is the target without its
    last token; labels (N,): after each of those the next token, so that the last one is the target's end;
    texts: of each pair the source and the reference as they were read, in evaluation.
    rows, num_tokens, is_filler: see datasets/batches/examples.py
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_index: Tensor
    target_ids: Tensor
    target_mask: Tensor
    target_index: Tensor
    labels: Tensor
    texts: list[tuple[str, str]] | None
    rows: np.ndarray
    num_tokens: int
    is_filler: bool = False

    def to(self, device: torch.device) -> Self:
        """The batch on the device that computes."""
        return moved_batch(self, device)


@dataclass(frozen=True)
class PairExamples:
    """A split of pairs. source and target: with the tokens that begin and end a text; chosen (N,): which pairs of those it has;
    texts: of each of the chosen, or None where only the tokens are needed; dropout: what re-segments the sources and the targets
    in each epoch, as (seed, epoch, row) decides."""

    source: Tokens
    target: Tokens
    chosen: np.ndarray
    texts: Sequence[tuple[str, str]] | None = None
    dropout: tuple[BPEDropout, BPEDropout] | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.chosen)

    def lengths(self, epoch: int = EVALUATION) -> np.ndarray:
        """(N,) tokens of both sides."""
        return np.asarray((self.source.lengths + self.target.lengths)[self.chosen])

    @property
    def truncated(self) -> np.ndarray:
        """(N,) whether either side was cut."""
        return np.asarray((self.source.truncated | self.target.truncated)[self.chosen])

    def collate(self, rows: np.ndarray, epoch: int = EVALUATION, step: int = 0) -> PairBatch:
        """The pairs of these rows, padded."""
        (ids, mask), (targets, target_mask) = self._padded(rows, epoch)
        is_read = target_mask[:, 1:]  # the decoder reads a token if another one comes after it
        return PairBatch(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            token_index=torch.from_numpy(np.flatnonzero(mask)),
            target_ids=torch.from_numpy(np.ascontiguousarray(targets[:, :-1] * is_read)),
            target_mask=torch.from_numpy(is_read.copy()),
            target_index=torch.from_numpy(np.flatnonzero(is_read)),
            labels=torch.from_numpy(targets[:, 1:][is_read]),
            texts=None if self.texts is None else [self.texts[row] for row in rows.tolist()],
            rows=rows,
            num_tokens=int(mask.sum() + is_read.sum()),
        )

    def _padded(self, rows: np.ndarray, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The ids and mask of the sources, and of the targets."""
        chosen = self.chosen[rows]
        if self.dropout is None or epoch == EVALUATION:
            return [self.source.pad(chosen), self.target.pad(chosen)]
        found = []
        for side, (tokens, dropout) in enumerate(zip((self.source, self.target), self.dropout, strict=True)):
            texts = [
                _resegmented(tokens.text(row), dropout, np.random.default_rng([self.seed, epoch, side, row]))
                for row in chosen.tolist()
            ]
            lengths = np.array(list(map(len, texts)))
            anew = Tokens.from_lengths(np.concatenate(texts), lengths, np.zeros(len(texts), dtype=bool))
            found.append(anew.pad(np.arange(len(texts))))
        return found


def _resegmented(ids: np.ndarray, dropout: BPEDropout, random: np.random.Generator) -> np.ndarray:
    """A text with its first and last token kept, and re-segmented between them."""
    anew = np.array([ids[0], *dropout.segmented(ids[1:-1].tolist(), random), ids[-1]], dtype=np.int32)
    return ids if dropout.max_length is not None and len(anew) > dropout.max_length else anew
