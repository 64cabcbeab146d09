"""Cross-entropy with class weights and label smoothing, as a sum. B: texts, L: labels."""

import unicodedata
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100


class CrossEntropy(nn.Module):
    """Cross-entropy of one label per text, with class weights and label smoothing (Szegedy et al. 2016, section 7).

    class_weights: weight of each label's texts, such as {spam: 5.0}; labels not named have weight 1; null: 1 for every label
    label_smoothing: probability taken from the gold label and spread evenly over all labels
    """

    is_multi_label = False
    weight: Tensor | None  # (L,)

    def __init__(
        self, labels: list[str], *, class_weights: dict[str, float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.host_weight = weight_tensor(labels, class_weights)  # so that counting does not wait for the device
        self.register_buffer("weight", self.host_weight, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, L), labels (B,) with -100 for ignored texts -> the sum over counted labels, ()."""
        return functional.cross_entropy(
            logits,
            labels,
            weight=self.weight,
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )

    def weigh(self, values: Tensor, labels: Tensor) -> Tensor:
        """Another term of the loss, values (B,) of the texts, weighted by their labels (B,) -> its sum over counted texts, ()."""
        if self.weight is not None:
            values = values * self.weight[labels.clamp(min=0)]
        return (values * (labels != IGNORED)).sum()

    def count(self, labels: Tensor) -> float:
        """The divisor of the sum: the number of labels (B,) that count, or the sum of their weights."""
        counted = labels[labels != IGNORED]
        if self.host_weight is None:
            return float(len(counted))
        return float(self.host_weight[counted].sum())


def weight_tensor(labels: list[str], weights: dict[str, float] | None) -> Tensor | None:
    """(L,) the weight of each label, 1 where none is given. Raises ValueError for an unknown label."""
    if not weights:
        return None
    if unknown := [label for label in weights if label not in labels]:
        name, form = unknown[0], partial(unicodedata.normalize, "NFC")
        twins = [f" ({name!a} is not {label!a})" for label in labels if form(label) == form(name)]  # they look the same
        known = ", ".join(labels[:20])
        raise ValueError(f"class_weights names {name!r}, which is not a label{''.join(twins)}; known: {known}")
    if min(weights.values()) < 0:
        raise ValueError(f"class_weights must not be negative, got {weights}")
    if not any(weights.get(label, 1.0) for label in labels):
        raise ValueError(f"class_weights must not be 0 for every label, got {weights}: nothing would be learnt")
    return torch.tensor([float(weights.get(label, 1.0)) for label in labels])
