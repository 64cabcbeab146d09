"""The linear map y = x W^T + b of every layer, and on some CPUs a faster library for it.

On a CPU torch multiplies float32 matrices by MKL, which uses AVX-512 on Intel's CPUs alone: on an AMD one that has it, oneDNN,
which torch ships, too, and uses for bfloat16, is up to twice as fast (benchmarks/linear_layers.py). N: rows, K, M: sizes of the
input and the output.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import has_torch_function

# Rows of a product, for each thread: oneDNN compiles a kernel of a MB for each number of rows that it meets, so there are only two.
BLOCKS = (256, 64)
MIN_WEIGHTS = 2**16  # with fewer, calling it takes longer than it saves


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., K) -> (..., M)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., K), weight (M, K), bias (M,) -> x W^T + b (..., M)."""
    if not _is_for_onednn(x, weight):
        return functional.linear(x, weight, bias)
    product: Tensor = _OneDNNLinear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return product.view(*x.shape[:-1], -1)


class _OneDNNLinear(torch.autograd.Function):
    """The same, in blocks of rows: y = x W^T + b; dL/dx = g W, dL/dW = g^T x, dL/db = the sum of g over the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (N, K) -> (N, M)."""
        ctx.save_for_backward(x, weight)
        return _by_rows(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """gradient (N, M) -> those of x, weight and bias, each None where nobody asks for it."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            of_x = _by_rows(gradient, weight.t(), None)
        if ctx.needs_input_grad[1]:
            of_weight = torch.zeros_like(weight)
            for rows, is_whole in _blocks(len(x)):
                of_weight += _product(gradient[rows].t(), x[rows].t(), None, is_whole)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=0)
        return of_x, of_weight, of_bias


def _by_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, K), (M, K) -> (N, M)."""
    made = x.new_empty(len(x), len(weight))
    for rows, is_whole in _blocks(len(x)):
        made[rows] = _product(x[rows], weight, bias, is_whole)
    return made


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, is_whole: bool) -> Tensor:
    """x W^T + b, of a whole block by oneDNN."""
    if is_whole:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # as torch.compile calls it
    return functional.linear(x, weight, bias)


def _blocks(num_rows: int) -> Iterator[tuple[slice, bool]]:
    """Slices of rows, and whether each is a whole block."""
    start, num_threads = 0, torch.get_num_threads()
    for size in BLOCKS:
        while start + size * num_threads <= num_rows:
            yield slice(start, start := start + size * num_threads), True
    if start < num_rows:
        yield slice(start, num_rows), False


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether it pays, and nothing is to see the operation: no autocast, compiler, export, or mode that follows each tensor."""
    return (
        not torch.compiler.is_compiling()
        and mkl_is_slow()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.numel() >= MIN_WEIGHTS
        and x.numel() >= BLOCKS[-1] * torch.get_num_threads() * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and not has_torch_function((x, weight))
    )


@functools.cache
def mkl_is_slow() -> bool:
    """Whether this is an AMD CPU with AVX-512, under Linux."""
    cpu = Path("/proc/cpuinfo")
    is_amd = cpu.exists() and "AuthenticAMD" in cpu.read_text(errors="replace")
    return is_amd and torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()
