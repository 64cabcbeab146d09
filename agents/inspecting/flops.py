"""Floating-point operations of a training step: torch's counter, and operators of CPUs: linear maps, LSTMs and attention."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Shape = Sequence[int]


def count_flops(step: Callable[[], Any]) -> int:
    """Operations of the matrix products in a call; a multiplication and an addition are two."""
    with FlopCounterMode(display=False, custom_mapping=OPERATORS) as counter:
        step()
    return counter.get_total_flops()


def _linear(input: Shape, weight: Shape, *given: Any, **rest: Any) -> int:
    return 2 * math.prod(input) * weight[0]


def _lstm(input: Shape, *given: Any, passes: int, **rest: Any) -> int:
    """input: (T, B, I) or (B, T, I); given: the arguments after it, weights first: as four tensors or as one list."""
    weights = given[0] if isinstance(given[0], list) else given[:4]
    matrices = [shape for shape in weights if len(shape) == 2]  # each is multiplied with every token
    return 2 * passes * input[0] * input[1] * sum(map(math.prod, matrices))


def _attention(query: Shape, key: Shape, value: Shape, *given: Any, **rest: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *given: Any, **rest: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


aten = torch.ops.aten
OPERATORS = {
    aten.mkldnn_rnn_layer: partial(_lstm, passes=1),
    aten.mkldnn_rnn_layer_backward: partial(_lstm, passes=2),
    aten._cudnn_rnn: partial(_lstm, passes=1),
    aten._cudnn_rnn_backward: partial(_lstm, passes=2),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
if torch.backends.mkldnn.is_available():  # which has this operator: see graphs/layers/linear.py
    OPERATORS[torch.ops.mkldnn._linear_pointwise] = _linear
