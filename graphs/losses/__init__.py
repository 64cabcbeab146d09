"""The table of losses: forward(logits, labels) -> the sum over counted labels; count(labels) -> what it is divided by."""

from torch import nn

from graphs.losses.binary_cross_entropy import BinaryCrossEntropy
from graphs.losses.cross_entropy import CrossEntropy
from graphs.losses.distillation import Distillation
from graphs.losses.focal import Focal

LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "distillation": Distillation,
    "binary_cross_entropy": BinaryCrossEntropy,
}
