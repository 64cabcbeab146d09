"""R-Drop (Liang et al. 2021, https://arxiv.org/abs/2106.14448, eq. 4): two forward passes under different dropout should agree.

B: texts, L: labels.
"""

from torch import Tensor
from torch.nn import functional


class RDrop:
    """Symmetric KL divergence of two forward passes with other dropout masks, added to any loss.

    r_drop: weight alpha of the KL term in the paper's equation; the authors' code weights it twice as much; 0: off
    """

    def __init__(self, *, r_drop: float = 0.0) -> None:
        if r_drop < 0:
            raise ValueError(f"r_drop must not be negative, got {r_drop}")
        self.weight = r_drop

    def disagreement(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, L) of two passes, labels (B,) or (B, L) -> r_drop / 4 times both divergences of each text, (B,).

        A quarter, because the paper adds the losses of both passes, while this is added to their mean.
        """
        if labels.ndim == 2:  # multi-label: each label is a binary choice
            pairs = [functional.logsigmoid(x) for x in (first, -first, second, -second)]
            divergence = ((pairs[0].exp() - pairs[2].exp()) * (pairs[0] - pairs[2])).sum(dim=-1)
            divergence = divergence + ((pairs[1].exp() - pairs[3].exp()) * (pairs[1] - pairs[3])).sum(dim=-1)
            return self.weight / 4 * divergence / labels.shape[1]
        p, q = (functional.log_softmax(logits, dim=-1) for logits in (first, second))
        divergence = ((p.exp() - q.exp()) * (p - q)).sum(dim=-1)  # KL(p, q) + KL(q, p), (B,)
        return self.weight / 4 * divergence
