"""The linear map by oneDNN is that of torch, with its gradients, and is used only where it may be."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graphs.layers import linear as module
from graphs.layers.linear import BLOCKS, Linear, linear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
K, M = 256, 384
BLOCK, SMALL = BLOCKS


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the inputs that oneDNN gets; as on a CPU on which it is the faster one, with one thread."""
    found, product = list[tuple[int, ...]](), module._product

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None, is_whole: bool) -> Tensor:
        if is_whole:
            found.append((*x.shape, len(weight)))
        return product(x, weight, bias, is_whole)

    monkeypatch.setattr(module, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(module, "_product", noted)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found
    torch.set_num_threads(threads)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(SMALL,), (SMALL + 1,), (BLOCK,), (3 * BLOCK - 1,), (4 * BLOCK,), (2, BLOCK), (3, 5, 100)], ids=str
)
def test_values_and_gradients_are_those_of_double_precision(
    shape: tuple[int, ...], bias: bool, calls: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    layer, x, gradient = Linear(K, M, bias=bias), torch.randn(*shape, K, requires_grad=True), torch.randn(*shape, M)
    made = layer(x)
    made.backward(gradient)
    assert calls
    exact, given = nn.Linear(K, M, bias=bias).double(), x.detach().double().requires_grad_()
    exact.load_state_dict(layer.state_dict())
    expected = exact(given)
    expected.backward(gradient.double())
    assert made.shape == expected.shape
    found = [made, x.grad, *(parameter.grad for parameter in layer.parameters())]
    for own, right in zip(found, [expected, given.grad, *(p.grad for p in exact.parameters())], strict=True):
        assert own is not None
        assert right is not None
        assert own.dtype == torch.float32
        assert (own.double() - right).abs().max() < 2e-6 * right.abs().max()


def test_any_number_of_rows_has_the_same_few_kernels(calls: list[tuple[int, ...]]) -> None:
    layer = Linear(K, M)
    for rows in range(BLOCK, 5 * BLOCK, 37):
        layer(torch.randn(rows, K, requires_grad=True)).sum().backward()
    # The product, and the gradients of x and weight.
    assert set(calls) == {shape for rows in BLOCKS for shape in ((rows, K, M), (rows, M, K), (M, rows, K))}


def test_only_the_gradients_that_are_asked_for_are_computed(calls: list[tuple[int, ...]]) -> None:
    layer, x = Linear(K, M), torch.randn(BLOCK, K)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert calls == [(BLOCK, K, M)]
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x))


def test_inputs_that_are_not_contiguous_are_read_as_they_are() -> None:
    x, weight = torch.randn(K, 2 * BLOCK), torch.randn(K, M)
    assert torch.allclose(linear(x.t(), weight.t()), x.t() @ weight, atol=1e-4)
    assert torch.allclose(linear(x.t()[::2], weight.t()), x.t()[::2] @ weight, atol=1e-4)


class Following(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_where_it_may_not_be_used_torch_multiplies(
    calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = Linear(K, M), torch.randn(BLOCK, K)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with Following():
        layer(x)
    assert layer.to("meta")(x.to("meta")).shape == (BLOCK, M)
    layer = Linear(K, M)
    layer(x[: SMALL - 1])
    layer(x[:0])
    layer.double()(x.double())
    Linear(64, 64)(torch.randn(BLOCK, 64))
    torch.export.export(Linear(K, M), (x,))
    assert not calls
    monkeypatch.setattr(module, "mkl_is_slow", lambda: False)
    Linear(K, M)(x)
    assert not calls
