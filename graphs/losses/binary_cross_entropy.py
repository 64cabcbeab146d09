"""Binary cross-entropy for multi-label classification, as a sum. B: texts, L: labels."""

from torch import Tensor, nn
from torch.nn import functional

from graphs.losses.cross_entropy import weight_tensor


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy of each label, for texts with any number of labels.

    class_weights: weight of a label's positive texts, such as {spam: 5.0}; labels not named have weight 1; null: 1 for every label
    """

    is_multi_label = True
    weight: Tensor | None  # (L,)

    def __init__(self, labels: list[str], *, class_weights: dict[str, float] | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight_tensor(labels, class_weights), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, L), labels (B, L) of 0 and 1 -> the sum over texts of the mean over labels, ()."""
        weight = self.weight
        total = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight, reduction="sum")
        return total / labels.shape[1]

    def weigh(self, values: Tensor, labels: Tensor) -> Tensor:
        """Another term of the loss, values (B,) of the texts -> its sum, ()."""
        return values.sum()

    def count(self, labels: Tensor) -> float:
        """The divisor of the sum: the number of texts."""
        return float(len(labels))
