"""Cross-entropy of the next token, with the product that gives the logits. N: target tokens, H: hidden size, V: vocabulary size.

The logits (N, V) are by far the largest tensor of a small encoder-decoder, and writing and reading them takes longer than computing
them. Here a few rows at a time are computed, turned into their loss and their gradients, and forgotten, while they are in the
processor's cache.
"""

import contextlib
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

LOGITS = 1 << 21  # computed at a time: 8 MB


class TokenLoss(NamedTuple):
    """Sums over the target tokens, () each: the loss and, without gradient, the negative log-likelihood and the right tokens."""

    loss: Tensor
    nll: Tensor
    num_right: Tensor


class TokenCrossEntropy(nn.Module):
    """Cross-entropy over the vocabulary with label smoothing (Vaswani et al. 2017, section 5.4).

    label_smoothing: probability taken from the right token and spread evenly over all tokens
    """

    def __init__(self, *, label_smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, hidden: Tensor, table: Tensor, labels: Tensor) -> TokenLoss:
        """hidden (N, H) and table (V, H), whose product are the logits; labels (N,)."""
        return TokenLoss(*_LinearCrossEntropy.apply(hidden, table, labels, self.label_smoothing))

    def of_logits(self, logits: Tensor, labels: Tensor) -> TokenLoss:
        """The formula, which `forward` computes without keeping the logits (N, V); labels (N,)."""
        losses = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="sum")
        with torch.no_grad():
            nll = functional.cross_entropy(logits, labels, reduction="sum")
            num_right = (logits.gather(1, labels[:, None])[:, 0] == logits.amax(dim=1)).sum().float()
        return TokenLoss(losses, nll, num_right)


class _LinearCrossEntropy(torch.autograd.Function):
    """With s the smoothing, x = hidden @ table^T and y the label: loss = logsumexp(x) - (1 - s) x_y - s mean(x), of which the
    gradient by x is softmax(x) - (1 - s) onehot(y) - s / V."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, labels: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        kind, size = hidden.device.type, len(table)
        is_mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if is_mixed else hidden.dtype
        states, rows = hidden.detach().to(dtype), table.detach().to(dtype)
        has_gradient = any(ctx.needs_input_grad[:2])
        of_hidden = torch.empty_like(states) if has_gradient else None
        of_table = torch.zeros_like(table, dtype=torch.float32) if has_gradient else None
        sums = torch.zeros(3, dtype=torch.float32, device=hidden.device)
        with torch.autocast(kind, enabled=False) if is_mixed else contextlib.nullcontext():
            mean = (
                (states.float() @ rows.float().mean(dim=0)).sum() if smoothing else 0.0
            )  # of the logits, summed over N
            for start in range(0, len(labels), max(1, LOGITS // size)):
                part = slice(start, start + max(1, LOGITS // size))
                own = labels[part, None]
                logits = (states[part] @ rows.T).float()  # (n, V)
                gold, largest = logits.gather(1, own), logits.amax(dim=1, keepdim=True)
                scores = logits.sub_(largest).exp_()
                total = scores.sum(dim=1, keepdim=True)
                log_total = largest + total.log()
                sums += torch.stack(
                    [(log_total - (1 - smoothing) * gold).sum(), (log_total - gold).sum(), (gold == largest).sum()]
                )
                if of_hidden is not None and of_table is not None:
                    gradient = scores.mul_(1 / total).sub_(smoothing / size)
                    gradient.scatter_add_(1, own, torch.full_like(gold, smoothing - 1))
                    gradient = gradient.to(dtype)
                    of_hidden[part] = gradient @ rows
                    of_table += gradient.T @ states[part]
        if of_hidden is not None and of_table is not None:
            ctx.save_for_backward(of_hidden.to(hidden.dtype), of_table.to(table.dtype))
        loss, nll, right = sums
        ctx.mark_non_differentiable(nll, right)
        return loss - smoothing * mean, nll, right

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_hidden, of_table = ctx.saved_tensors
        return of_hidden * gradients[0], of_table * gradients[0], None, None
