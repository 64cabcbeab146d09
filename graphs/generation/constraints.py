"""What a target may not be: which tokens are forbidden next. B: texts, K: rows of a text, V: vocabulary, t: tokens so far."""

import torch
from torch import Tensor

from graphs.generation.options import GenerationOptions


def constrained(log_probs: Tensor, target: Tensor, end_id: int, options: GenerationOptions) -> Tensor:
    """log_probs (B, K, V) with minus infinity for what is forbidden after the targets so far (B, K, t), their prefix included."""
    if target.shape[2] < options.min_length:
        log_probs[:, :, end_id] = -torch.inf
    if 0 < options.no_repeat_ngram <= target.shape[2]:
        forbid_repeated(log_probs, target, options.no_repeat_ngram)
    return log_probs


def forbid_repeated(log_probs: Tensor, target: Tensor, size: int) -> None:
    """Forbid every token that would complete an n-gram of `size` tokens which the row already holds."""
    ngrams = target.unfold(2, size, 1)  # (B, K, t - size + 1, size)
    begun = target[:, :, None, target.shape[2] - size + 1 :]  # (B, K, 1, size - 1)
    is_same = (ngrams[..., :-1] == begun).all(dim=-1)
    penalty = torch.zeros(is_same.shape, dtype=log_probs.dtype, device=log_probs.device)
    log_probs.scatter_add_(2, ngrams[..., -1], penalty.masked_fill_(is_same, -torch.inf))
