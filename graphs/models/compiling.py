"""torch.compile for the layers of an encoder (https://docs.pytorch.org/docs/stable/torch.compiler.html)."""

from collections.abc import Iterable

from torch import nn

MAX_GRAPHS = 64


def compile_each(layers: Iterable[nn.Module]) -> None:
    """Compile every layer, for texts of any length; layers that differ only in their weights share graphs.

    A run with all cases needs 25 graphs; torch would stop after 8 and continue uncompiled. There are 5 shapes: with padding
    and without; one text, one token per text and one token in total, as torch specialises on a size of 1. Each is met by 3 kinds of
    layer in training (frozen, the lowest trainable one, above it) and by 2 in evaluation; a graph depends on what has gradients.
    """
    import torch._dynamo  # takes a second, so it is imported only if needed

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_GRAPHS)
    for layer in layers:
        layer.compile(dynamic=True)
