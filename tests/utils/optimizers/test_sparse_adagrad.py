"""Our Adagrad against torch's: the same numbers, the same state, either of them goes on from the other's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from utils.optimizers.sparse_adagrad import SparseAdagrad

OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.5},
    {"lr": 0.1, "lr_decay": 0.3},
    {"lr": 0.1, "initial_accumulator_value": 0.7, "eps": 1e-3},
]


def parameters() -> list[Tensor]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(30, 4)), nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(5))]


def gradients(step: int) -> list[Tensor | None]:
    """A sparse one for the table, a dense one, and one that is missing every other time."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randperm(30, generator=generator)[:7].sort().values
    values = torch.randn(7, 4, generator=generator)
    table = torch.sparse_coo_tensor(rows[None], values, (30, 4), is_coalesced=True, check_invariants=True)
    return [table, torch.randn(5, 4, generator=generator), torch.randn(5, generator=generator) if step % 2 else None]


def run(optimizer: Any, own: list[Tensor], steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        for parameter, gradient in zip(own, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()


def groups(own: list[Tensor]) -> list[dict[str, Any]]:
    return [{"params": own[:2]}, {"params": own[2:], "lr": 0.03}]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_numbers_are_torchs(options: dict[str, Any]) -> None:
    ours, theirs = parameters(), parameters()
    run(SparseAdagrad(groups(ours), **options), ours, range(9))
    run(torch.optim.Adagrad(groups(theirs), **options), theirs, range(9))
    for first, second in zip(ours, theirs, strict=True):
        torch.testing.assert_close(first, second)
    assert not torch.equal(ours[0], parameters()[0])


@pytest.mark.parametrize("kinds", [(SparseAdagrad, torch.optim.Adagrad), (torch.optim.Adagrad, SparseAdagrad)])
def test_one_goes_on_from_the_state_of_the_other(kinds: tuple[Any, Any]) -> None:
    whole = parameters()
    run(torch.optim.Adagrad(groups(whole), lr=0.2, lr_decay=0.1), whole, range(8))
    own = parameters()
    first, second = (kind(groups(own), lr=0.2, lr_decay=0.1) for kind in kinds)
    run(first, own, range(4))
    second.load_state_dict(first.state_dict())
    run(second, own, range(4, 8))
    for parameter, expected in zip(own, whole, strict=True):
        torch.testing.assert_close(parameter, expected)


def test_a_row_without_a_gradient_keeps_its_bits() -> None:
    own = parameters()
    before = own[0].detach().clone()
    run(SparseAdagrad(groups(own)), own, range(1))
    touched = gradients(0)[0]
    assert touched is not None
    is_touched = torch.zeros(30, dtype=torch.bool).index_fill_(0, touched._indices()[0], True)
    assert torch.equal(own[0][~is_touched], before[~is_touched])
    assert (own[0][is_touched] != before[is_touched]).all()


@pytest.mark.parametrize("name", ["lr", "lr_decay", "eps", "initial_accumulator_value"])
def test_bad_values_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        SparseAdagrad(groups(parameters()), **{name: -1.0})


def test_weight_decay_and_the_state_of_other_parameters_are_refused() -> None:
    own = parameters()
    with pytest.raises(ValueError, match="weight_decay"):
        SparseAdagrad(groups(own), weight_decay=0.1)
    other = SparseAdagrad([{"params": own[:2]}])
    with pytest.raises(ValueError, match="other parameters"):
        SparseAdagrad(groups(own)).load_state_dict(other.state_dict())
