"""Cross-entropy of the next token with label smoothing, as a sum. N: target tokens, V: vocabulary size."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class TokenCrossEntropy(nn.Module):
    """Cross-entropy over the vocabulary (Vaswani et al. 2017, section 5.4).

    label_smoothing: probability taken from the right token and spread evenly over all tokens
    """

    def __init__(self, *, label_smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """logits (N, V), labels (N,) -> the loss and, without smoothing and gradient, the negative log-likelihood: sums, ()."""
        logits = logits.float()
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="sum")
        with torch.no_grad():
            nll = (logits.logsumexp(dim=-1) - logits.gather(1, labels[:, None])[:, 0]).sum()
        return loss, nll
