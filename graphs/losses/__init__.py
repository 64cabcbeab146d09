"""Registry of losses: forward(logits, labels) -> the sum over counted labels; count(labels) -> its divisor;
weigh(values, labels) -> the sum of another term, such as R-Drop's, with each text weighted as in the loss."""

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
