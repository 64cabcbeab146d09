"""Dropout from random bytes has the distribution it should have, the same gradient mask, and torch's generator as its only state."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from graphs.layers.dropout import Dropout, dropout

SIGMAS = 5


def dropped(p: float, *shape: int) -> Tensor:
    """1.0 where a value was dropped."""
    return (dropout(torch.ones(shape), p) == 0).double()


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
def test_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(1)
    num_values = 4_000_003
    kept = dropout(torch.ones(num_values), p)
    sigma = (p * (1 - p) / num_values) ** 0.5
    assert abs((kept == 0).double().mean().item() - p) < SIGMAS * sigma
    assert kept.double().mean().item() == pytest.approx(1, abs=SIGMAS * sigma / (1 - p))
    assert kept.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_values_are_independent(p: float) -> None:
    """Neighbours in a row, in a column, in the four parts of one 64-bit draw, and the counts of rows and columns."""
    torch.manual_seed(2)
    table = dropped(p, 1000, 1024)
    centred = (table - p) / (p * (1 - p)) ** 0.5
    for lag in (1, 2, 3, 4, 8, 1024, 2048):
        flat = centred.flatten()
        correlation = (flat[lag:] * flat[:-lag]).mean().item()
        assert abs(correlation) < SIGMAS / (len(flat) - lag) ** 0.5
    for dim in (0, 1):
        squares = (centred.sum(dim=dim) ** 2 / centred.shape[dim]).sum().item()  # chi-square of that many counts
        freedom = centred.shape[1 - dim]
        assert abs(squares - freedom) < SIGMAS * (2 * freedom) ** 0.5


def test_two_masks_have_nothing_in_common() -> None:
    torch.manual_seed(3)
    both = dropped(0.5, 500_000) * dropped(0.5, 500_000)
    assert both.mean().item() == pytest.approx(0.25, abs=SIGMAS * (0.1875 / 500_000) ** 0.5)


def test_the_gradient_has_the_same_mask() -> None:
    hidden = torch.ones(33, 77, requires_grad=True)
    output = dropout(hidden, 0.3)
    output.sum().backward()
    assert hidden.grad is not None
    assert torch.equal(hidden.grad, output.detach())


def test_the_state_is_that_of_torch_generator() -> None:
    torch.manual_seed(4)
    dropout(torch.ones(7), 0.5)
    state = torch.get_rng_state()
    first = [dropout(torch.ones(5, 13), 0.5) for _ in range(3)]
    torch.set_rng_state(state)
    again = [dropout(torch.ones(5, 13), 0.5) for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_16_bits_keep_the_mean() -> None:
    """1 / 0.9 rounded to bfloat16 would make every value 0.16% too small."""
    torch.manual_seed(8)
    hidden = torch.rand(2_000_000).add_(1).bfloat16()
    ratio = dropout(hidden, 0.1).double().mean() / hidden.double().mean()
    assert (
        abs(ratio.item() - 1) < SIGMAS * (1.04 * 0.1 / 0.9 / 2_000_000) ** 0.5
    )  # 1.04: E[x^2] / E[x]^2 between 1 and 2


def test_nothing_is_drawn_where_nothing_is_dropped() -> None:
    hidden, state = torch.ones(4), torch.get_rng_state()
    assert dropout(hidden, 0.0) is hidden
    assert Dropout(0.5).eval()(hidden) is hidden
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (5, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_any_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    output = dropout(torch.ones(shape, dtype=dtype), 0.5)
    assert output.shape == shape
    assert output.dtype == dtype
    assert set(output.flatten().tolist()) <= {0.0, 2.0}


def test_transposed_values_keep_their_places() -> None:
    torch.manual_seed(5)
    hidden = torch.arange(1.0, 13).view(3, 4).T
    output = dropout(hidden, 0.5)
    assert torch.equal(output[output != 0], 2 * hidden[output != 0])


@pytest.mark.parametrize("p", [1e-9, 0.999999])
def test_extreme_shares_stay_finite(p: float) -> None:
    assert torch.isfinite(dropout(torch.ones(1000), p)).all()


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_refuses_a_share_that_is_none(p: float) -> None:
    with pytest.raises(ValueError, match=r"^p must be in \[0, 1\)"):
        Dropout(p)


def test_the_meta_device_and_a_compiled_graph_have_torch_dropout() -> None:
    assert dropout(torch.ones(3, device="meta"), 0.5).is_meta
    torch.manual_seed(6)
    compiled = torch.compile(lambda x: dropout(x, 0.5), backend="aot_eager", fullgraph=True)(torch.ones(1000))
    torch.manual_seed(6)
    assert torch.equal(compiled, functional.dropout(torch.ones(1000), 0.5))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_checkpoint_makes_the_same_mask_again(compiled: bool) -> None:
    def layer(x: Tensor) -> Tensor:
        return dropout(dropout(x, 0.5) ** 2, 0.5)

    def run(x: Tensor) -> Tensor:
        result: Tensor = checkpoint(layer, x, use_reentrant=False)
        return result

    gradients = []
    for function in (layer, torch.compile(run, backend="aot_eager") if compiled else run):
        hidden = torch.ones(1001, requires_grad=True)
        torch.manual_seed(7)
        output = function(hidden)
        output.sum().backward()
        assert hidden.grad is not None
        assert torch.equal(hidden.grad, 2 * output.detach())  # d(x^2 * scale) = 2 x * scale at x = 1
        gradients.append(hidden.grad)
    assert compiled or torch.equal(gradients[0], gradients[1])
